use std::sync::Arc;

use super::*;
use crate::clock::Clock;
use crate::inbox::Inbox;
use crate::inbox::tests::envelope;
use crate::shutdown::Shutdown;
use crate::smtp::Backend;
use crate::store::{Kind, Store};

fn config(variables: &[(&str, &str)]) -> Result<Config, Mistakes> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Config::from_variables(&variables)
}

#[test]
fn nothing_set_is_a_developers_server() {
    let config = config(&[]).unwrap();
    assert_eq!(config.smtp_addrs, ["127.0.0.1:2525".parse().unwrap()]);
    assert_eq!(config.http_addrs, ["127.0.0.1:8080".parse().unwrap()]);
    assert_eq!(config.inbox.domains, Domains::Any);
    assert_eq!(config.inbox.mime, Budgets::default());
    assert_eq!(config.inbox.retention, Duration::from_secs(24 * 60 * 60));
    assert_eq!(config.inbox.rate_per_minute, 50);
    assert_eq!(config.http.rate_per_minute, 100);
    assert_eq!(config.smtp.session.hostname, "localhost");
    assert_eq!(config.store.mailbox_max_messages, 500);
    assert!(config.http.keys.is_empty());
    assert!(matches!(config.store.kind, Kind::Embedded { .. }));
}

#[test]
fn each_variable_is_read() {
    let config = config(&[
        ("DOMAIN", "Example.com, *.example.org"),
        ("API_KEY", "one,two"),
        ("SMTP_ADDR", "0.0.0.0:25,[::]:25"),
        ("SMTP_MAX_MESSAGE_SIZE", "1MiB"),
        ("MAILBOX_NAMING", "full"),
        ("PLUS_ADDRESSING", "strip"),
        ("RETENTION", "30m"),
        ("STORE", "memory"),
        ("BARE_LF", "keep"),
        ("LOG_FORMAT", "json"),
    ])
    .unwrap();
    assert_eq!(config.smtp_addrs.len(), 2);
    assert_eq!(config.http.keys.len(), 2);
    assert_eq!(config.smtp.session.hostname, "example.com");
    assert_eq!(config.smtp.session.max_message_bytes, 1 << 20);
    assert_eq!(config.smtp.session.bare_lf, BareLf::Keep);
    assert_eq!(config.inbox.naming, Naming { scheme: NamingScheme::Full, plus: PlusAddressing::Strip });
    assert_eq!(config.inbox.retention, Duration::from_secs(30 * 60));
    assert!(matches!(config.store.kind, Kind::Memory));
    assert!(config.log.json);
}

#[test]
fn all_mistakes_are_reported_at_once_with_name_value_and_what_is_allowed() {
    let mistakes = config(&[
        ("SMTP_ADDR", "localhost"),
        ("RETENTION", "soon"),
        ("STORE", "postgres"),
        ("SMTP_MAX_RECIPIENTS", "0"),
        ("DOMAIN", "exa mple"),
        ("LOG_LEVEL", "infos"),
    ])
    .unwrap_err()
    .to_string();
    for part in [
        "6 mistakes",
        "SMTP_ADDR=\"localhost\": ",
        "127.0.0.1:2525",
        "RETENTION=\"soon\": ",
        "STORE=\"postgres\": write one of: embedded, memory, redis",
        "SMTP_MAX_RECIPIENTS=\"0\": write a whole number from 1 to 10000",
        "DOMAIN=\"exa mple\": ",
        "LOG_LEVEL=",
    ] {
        assert!(mistakes.contains(part), "{part} is not in:\n{mistakes}");
    }
}

#[test]
fn a_public_address_needs_a_key_and_a_domain() {
    for name in ["SMTP_ADDR", "SMTPS_ADDR", "HTTP_ADDR"] {
        for addr in ["0.0.0.0:0", "192.0.2.1:25", "[::]:0", "127.0.0.1:0,[2001:db8::1]:25", "[::ffff:192.0.2.1]:25"] {
            let mistakes = config(&[(name, addr)]).unwrap_err().to_string();
            assert!(mistakes.contains("DOMAIN is not set") && mistakes.contains("API_KEY is not set"), "{mistakes}");
            assert!(config(&[(name, addr), ("DOMAIN", "example.com")]).is_err());
            assert!(config(&[(name, addr), ("API_KEY", "secret")]).is_err());
            assert!(config(&[(name, addr), ("DOMAIN", "example.com"), ("API_KEY", " ")]).is_err());
            assert!(config(&[(name, addr), ("DOMAIN", "example.com"), ("API_KEY", ",")]).is_err());
            assert!(config(&[(name, addr), ("DOMAIN", ", ,"), ("API_KEY", "secret")]).is_err());
            assert!(config(&[(name, addr), ("DOMAIN", "*"), ("API_KEY", "secret")]).is_ok());
        }
        for addr in ["127.0.0.1:0", "127.8.8.8:25", "[::1]:0", "[::ffff:127.0.0.1]:25"] {
            assert!(config(&[(name, addr)]).is_ok(), "{addr}");
        }
    }
}

#[test]
fn the_host_name_is_ascii_whatever_the_domain_is_written_in() {
    let hostname = |domain| config(&[("DOMAIN", domain)]).unwrap().smtp.session.hostname;
    assert_eq!(hostname("exämple.com,example.com"), "xn--exmple-cua.com");
    assert_eq!(hostname("[192.0.2.1],*.example.com"), "example.com");
    assert_eq!(hostname("[192.0.2.1]"), "localhost");
    assert!(config(&[("SMTP_HOSTNAME", "exämple.com")]).is_err());
}

#[test]
fn a_message_of_the_offered_size_finds_room_where_it_is_limited() {
    let mistakes = config(&[("SMTP_MAX_IN_FLIGHT", "10MiB")]).unwrap_err().to_string();
    assert!(mistakes.contains("SMTP_MAX_IN_FLIGHT") && mistakes.contains("SMTP_MAX_MESSAGE_SIZE"), "{mistakes}");
    assert!(config(&[("SMTP_MAX_IN_FLIGHT", "10MiB"), ("SMTP_MAX_MESSAGE_SIZE", "10MiB")]).is_ok());
    let size = ("SMTP_MAX_MESSAGE_SIZE", "10MiB");
    let store = |bytes| config(&[("STORE_MAX_BYTES", bytes), size, ("SMTP_MAX_RECIPIENTS", "100")]);
    for bytes in ["0", "10MiB", "20MiB"] {
        let mistakes = store(bytes).unwrap_err().to_string();
        assert!(
            mistakes.starts_with("1 mistake ") && mistakes.contains("STORE_MAX_BYTES is ") && mistakes.contains(size.0),
            "{mistakes}"
        );
    }
    let mistakes = store("20MiB").unwrap_err().to_string();
    let needed = mistakes.split(" may take ").nth(1).unwrap().split(',').next().unwrap();
    assert!(store(needed).is_ok(), "{mistakes}");
    assert!(config(&[("STORE_MAX_BYTES", "0"), ("STORE", "redis"), ("REDIS_URL", "redis://a")]).is_ok());
}

#[tokio::test]
async fn a_message_of_the_offered_size_finds_room_in_an_empty_store() {
    let size = [("SMTP_MAX_MESSAGE_SIZE", "1MiB"), ("SMTP_MAX_RECIPIENTS", "100")];
    let mistakes = config(&[&size[..], &[("STORE_MAX_BYTES", "0")]].concat()).unwrap_err().to_string();
    let needed = mistakes.split(" may take ").nth(1).unwrap().split(',').next().unwrap();
    let mut raw = b"Subject: x\r\n\r\n".to_vec();
    raw.resize(1 << 20, b'x');
    let to: Vec<_> = (0..100).map(|at| format!("user{at}@example.com")).collect();
    let envelope = envelope(&to.iter().map(String::as_str).collect::<Vec<_>>());
    let dir = tempfile::tempdir().unwrap();
    for store in ["memory", "embedded"] {
        let place = [("STORE", store), ("DATA_DIR", dir.path().to_str().unwrap()), ("STORE_MAX_BYTES", needed)];
        let config = config(&[&size[..], &place].concat()).unwrap();
        let (clock, tasks) = (Clock::system(), Shutdown::new());
        let store = Store::open(&config.store, clock.clone(), Arc::default(), &tasks).await.unwrap();
        let inbox = Inbox::new(config.inbox, store.clone(), clock, Arc::default());
        let answer = inbox.deliver(&envelope, raw.clone().into()).await;
        assert!(answer.is_ok(), "{answer:?}");
        tasks.request();
        store.close().await;
    }
}

#[test]
fn an_address_that_is_given_twice_is_named_with_its_variables() {
    for (variables, expected) in [
        (
            &[("SMTP_ADDR", "127.0.0.1:25"), ("HTTP_ADDR", "127.0.0.1:25")][..],
            "SMTP_ADDR has 127.0.0.1:25 and HTTP_ADDR has 127.0.0.1:25: ",
        ),
        (&[("HTTP_ADDR", "127.0.0.1:2525")], "SMTP_ADDR has 127.0.0.1:2525 and HTTP_ADDR has 127.0.0.1:2525: "),
        (
            &[("SMTP_ADDR", "[::ffff:127.0.0.1]:25"), ("HTTP_ADDR", "127.0.0.1:25")],
            "SMTP_ADDR has [::ffff:127.0.0.1]:25 and HTTP_ADDR has 127.0.0.1:25: ",
        ),
        (&[("SMTP_ADDR", "127.0.0.1:25,127.0.0.1:25")], "SMTP_ADDR has 127.0.0.1:25 and SMTP_ADDR has 127.0.0.1:25: "),
        (
            &[("SMTPS_ADDR", "[::1]:465"), ("METRICS_ADDR", "[::1]:465")],
            "SMTPS_ADDR has [::1]:465 and METRICS_ADDR has [::1]:465: ",
        ),
        (
            &[("HTTPS_ADDR", "0.0.0.0:2525"), ("DOMAIN", "*"), ("API_KEY", "secret")],
            "SMTP_ADDR has 127.0.0.1:2525 and HTTPS_ADDR has 0.0.0.0:2525: ",
        ),
    ] {
        let mistakes = config(variables).unwrap_err().to_string();
        assert!(mistakes.starts_with("1 mistake ") && mistakes.contains(expected), "{mistakes}");
    }
    for variables in [
        [("SMTP_ADDR", "127.0.0.1:0,127.0.0.1:0"), ("HTTP_ADDR", "127.0.0.1:0")],
        [("SMTP_ADDR", "127.0.0.1:25,[::1]:25"), ("HTTP_ADDR", "127.0.0.2:25")],
        [("SMTP_ADDR", "[::ffff:127.0.0.1]:25"), ("HTTP_ADDR", "127.0.0.2:25")],
    ] {
        assert!(config(&variables).is_ok(), "{variables:?}");
    }
    let on_interfaces = |addrs| config(&[("SMTP_ADDR", addrs), ("DOMAIN", "*"), ("API_KEY", "secret")]);
    assert!(on_interfaces("[fe80::1%2]:25,[fe80::1%3]:25").is_ok());
    let mistakes = on_interfaces("[fe80::1%2]:25,[fe80::1%2]:25").unwrap_err().to_string();
    assert!(mistakes.contains("SMTP_ADDR has [fe80::1%2]:25 and SMTP_ADDR has [fe80::1%2]:25: "), "{mistakes}");
}

#[test]
fn a_name_that_no_public_authority_signs_for_is_a_mistake() {
    let ordered = |domains: &str, more: &[(&str, &str)]| {
        let variables = [&[("HTTPS_ADDR", "127.0.0.1:0"), ("ACME_DOMAINS", domains)], more].concat();
        config(&variables).map(|_| ()).map_err(|mistakes| mistakes.to_string())
    };
    for name in ["localhost", "mailhost", "mx.test", "a.b.localhost", "nas.local", "mx.home.arpa", "mx.internal"] {
        let mistakes = ordered(&format!("mx.example.com,{name}"), &[]).unwrap_err();
        let expected = format!("ACME_DOMAINS has {name}, and ACME_DIRECTORY_URL is not set");
        assert!(mistakes.starts_with("1 mistake ") && mistakes.contains(&expected), "{mistakes}");
        assert_eq!(ordered(name, &[("ACME_DIRECTORY_URL", "https://ca.internal/dir")]), Ok(()), "{name}");
    }
    assert_eq!(ordered("mx.example.com,mylocal.example,local.example.org,mx.example.onion", &[]), Ok(()));
}

#[test]
fn what_follows_from_other_variables_is_shown_as_it_is_in_effect() {
    let shown = |variables: &[(&str, &str)], name: &str| {
        let config = config(variables).unwrap();
        config.shown().iter().find(|(known, _)| *known == name).unwrap().1.clone()
    };
    for (name, expected) in [
        ("DOMAIN", "*"),
        ("API_KEY", "(generated)"),
        ("SMTP_HOSTNAME", "localhost"),
        ("HTTPS_HOST", ""),
        ("ACME_EMAIL", ""),
        ("RESTANTE_API_KEY", "(generated)"),
    ] {
        assert_eq!(shown(&[], name), expected, "{name}");
    }
    assert_eq!(shown(&[("API_KEY", "a,b")], "RESTANTE_API_KEY"), "(the first of API_KEY)");
    assert_eq!(shown(&[("RESTANTE_API_KEY", "c")], "RESTANTE_API_KEY"), "(hidden)");
    let server =
        [("DOMAIN", "example.com,*.example.org"), ("HTTPS_ADDR", "127.0.0.1:8443"), ("HTTP_HOSTS", "proxy.lan")];
    assert_eq!(shown(&server, "DOMAIN"), "example.com,*.example.org");
    assert_eq!(shown(&server, "SMTP_HOSTNAME"), "example.com");
    assert_eq!(shown(&server, "HTTPS_HOST"), "example.com:8443");
    assert_eq!(shown(&server, "HTTP_HOSTS"), "proxy.lan,example.com");
    let named_twice =
        [("DOMAIN", "example.com"), ("HTTP_HOSTS", "Example.com,proxy.lan"), ("HTTPS_HOST", "example.com")];
    assert_eq!(shown(&named_twice, "HTTP_HOSTS"), "example.com,proxy.lan");
    let ordered = [("HTTPS_ADDR", "127.0.0.1:443"), ("ACME_DOMAINS", "mx.example.net")];
    assert_eq!(shown(&ordered, "HTTPS_HOST"), "mx.example.net");
}

#[test]
fn secrets_are_never_shown() {
    let config = config(&[("API_KEY", "hunter2hunter2")]).unwrap();
    assert!(config.shown().contains(&("API_KEY", "(hidden)".to_owned())));
    assert!(!format!("{config:?}").contains("hunter2"));
    let mistakes = tests::config(&[("API_KEY", "hunter2 with spaces")]).unwrap_err().to_string();
    assert!(mistakes.contains("API_KEY=(hidden): ") && !mistakes.contains("hunter2"), "{mistakes}");
}

#[test]
fn a_near_miss_in_the_environment_is_said_and_stops_nothing() {
    let warned = |variables: &[(&str, &str)]| config(variables).unwrap().warnings().to_vec();
    assert_eq!(
        warned(&[("SMTP_ADR", "x"), ("DOMAINS", "x")]),
        ["DOMAINS is not known; did you mean DOMAIN?", "SMTP_ADR is not known; did you mean SMTP_ADDR?"]
    );
    assert_eq!(warned(&[("SMTP_ADR", "x"), ("SMTP_ADDR", "127.0.0.1:0")]), Vec::<String>::new());
    assert_eq!(warned(&[("SMTP_PORT_25_TCP", "x"), ("HTTPS_PORT", "443"), ("PATH", "x")]), Vec::<String>::new());
    assert_eq!(warned(&[("REDIS_URI", "redis://a")]).len(), 1);
}

#[test]
fn every_default_is_valid_and_every_variable_is_read() {
    let shown = config(&[]).unwrap().shown().to_vec();
    assert_eq!(shown.len(), VARIABLES.len());
    for variable in VARIABLES {
        // Nothing takes this, not even the name of a file.
        let mistakes = config(&[(variable.name, "\0!")]).map(|_| ()).unwrap_err().to_string();
        assert!(mistakes.contains(&format!("{}=", variable.name)), "{} is not read: {mistakes}", variable.name);
    }
}

#[test]
fn a_short_key_where_strangers_come_is_warned_of() {
    let warned = |key: &str, addr: &str| {
        let config = config(&[("API_KEY", key), ("SMTP_ADDR", addr), ("DOMAIN", "example.com")]).unwrap();
        config.warnings().concat()
    };
    let public = "0.0.0.0:0";
    for key in ["s3cret", "a-key-that-is-long-enough,fifteen-letters"] {
        let warning = warned(key, public);
        assert!(warning.contains("API_KEY") && warning.contains("openssl rand") && !warning.contains(key), "{warning}");
    }
    assert_eq!(warned("a-key-that-is-long-enough", public), "");
    assert_eq!(warned("s3cret", "127.0.0.1:0"), "");
}

#[test]
fn servers_that_share_a_redis_are_told_to_share_a_key() {
    let redis = [("STORE", "redis"), ("REDIS_URL", "redis://a")];
    assert!(config(&redis).unwrap().warnings().concat().contains("API_KEY is not set"));
    assert!(config(&[redis[0], redis[1], ("API_KEY", "s3cret")]).unwrap().warnings().is_empty());
    assert!(config(&[]).unwrap().warnings().is_empty());
}

#[test]
fn redis_is_a_url_or_an_address_and_its_password_is_in_one_place() {
    let server = |variables: &[(&str, &str)]| match config(variables).unwrap().store.kind {
        Kind::Redis(redis) => redis,
        other => panic!("{other:?}"),
    };
    let store = ("STORE", "redis");
    let redis = server(&[store, ("REDIS_URL", "redis://:hunter2@redis.example.com/2"), ("STORE_DURABILITY", "strict")]);
    assert_eq!(redis.server.to_string(), "redis://redis.example.com:6379/2");
    assert_eq!((redis.prefix.as_str(), redis.durability), ("rst", crate::store::Durability::Strict));
    let addr = ("REDIS_ADDR", "127.0.0.1:6379");
    let redis = server(&[store, addr, ("REDIS_PASSWORD", "hunter2"), ("REDIS_WAIT_REPLICAS", "2")]);
    assert!(redis.server.has_password() && redis.wait_replicas == 2);
    for (variables, expected) in [
        (&[store][..], "STORE=redis needs REDIS_URL"),
        (&[("REDIS_URL", "redis://a")], "REDIS_URL is set, but mail is not kept there"),
        (&[("REDIS_ADDR", "a:1")], "REDIS_ADDR is set, but mail is not kept there"),
        (&[store, ("REDIS_URL", "redis://a"), ("REDIS_ADDR", "a:1")], "REDIS_URL and REDIS_ADDR are both set"),
        (&[store, ("REDIS_URL", "redis://:x@a"), ("REDIS_PASSWORD", "y")], "write it in one place"),
        (&[store, ("REDIS_URL", "redis://a"), ("REDIS_CA_FILE", "ca.pem")], "REDIS_CA_FILE is set"),
        (&[store, ("REDIS_URL", "http://hunter2@a")], "REDIS_URL=(hidden): write redis://"),
        (&[store, ("REDIS_ADDR", "redis")], "REDIS_ADDR=\"redis\": write host:port"),
        (&[store, ("REDIS_URL", "redis://a"), ("REDIS_PREFIX", "{a}")], "REDIS_PREFIX=\"{a}\": write"),
    ] {
        let mistakes = config(variables).unwrap_err().to_string();
        assert!(mistakes.contains(expected) && !mistakes.contains("hunter2"), "{mistakes}");
    }
}
