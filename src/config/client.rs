//! What the commands need that ask a running server.

use std::fs;
use std::path::PathBuf;

use reqwest::Url;

use super::reader::Reader;
use super::source::Variables;
use super::{Mistakes, value};
use crate::http::ApiKey;

/// The file in the data directory that holds a generated key.
pub const KEY_FILE: &str = "api-key";

/// How a running server is reached. Nothing else of the configuration is looked at: these commands run where tests do, beside
/// the variables of other programs.
#[derive(Clone)]
pub struct Client {
    /// Where its API is.
    pub url: String,
    key: Key,
}

/// Where the key is.
#[derive(Clone)]
enum Key {
    Known(String),
    /// In the data directory of the server, if that has generated one.
    In(PathBuf),
}

impl Client {
    /// What was given, and what is not is read of the environment and the file `.env` of the working directory, the
    /// environment first. Nothing is looked at where all is given, and else what is still missing alone: the directory
    /// may be that of any project.
    ///
    /// # Errors
    /// All mistakes in what was given, or in the variables that were needed.
    pub fn load(url: Option<&str>, key: Option<&str>) -> Result<Self, Mistakes> {
        let is_complete = url.is_some() && key.is_some();
        Self::find(url, key, &if is_complete { Variables::default() } else { Variables::of_process() })
    }

    fn find(url: Option<&str>, key: Option<&str>, variables: &Variables) -> Result<Self, Mistakes> {
        let mut reader = Reader::new(variables);
        let url = match url {
            Some(text) => self::url(text).unwrap_or_else(|error| {
                reader.mistake(format!("--url {text:?}: {error}"));
                String::new()
            }),
            None => reader.read("RESTANTE_URL", self::url),
        };
        let key = match key {
            Some(text) => {
                if let Err(error) = self::key(text) {
                    reader.mistake(format!("--key: {error}"));
                }
                Key::Known(text.to_owned())
            }
            None => Key::find(&mut reader),
        };
        reader.mistakes().map(|()| Self { url, key })
    }

    /// Notes the mistakes in the variables that the server itself does not use.
    pub(super) fn check(reader: &mut Reader<'_>) {
        reader.read("RESTANTE_URL", url);
        reader.read("RESTANTE_API_KEY", value::optional(key));
    }

    /// The key: the one that is set, or the one that the server has generated.
    ///
    /// # Errors
    /// There is none; the text says what to do.
    pub fn key(&self) -> Result<String, String> {
        let data_dir = match &self.key {
            Key::Known(key) => return Ok(key.clone()),
            Key::In(data_dir) => data_dir,
        };
        let file = data_dir.join(KEY_FILE);
        let text = fs::read_to_string(&file).map_err(|error| error.to_string());
        text.and_then(|text| key(text.trim()))
            .map_err(|error| format!("no API key: set RESTANTE_API_KEY, or give --key ({}: {error})", file.display()))
    }
}

impl Key {
    /// The nearest one that is set. What is not looked at has no mistakes: it may be another program's.
    fn find(reader: &mut Reader<'_>) -> Self {
        let first = |text: &str| value::list(text).next().map_or_else(|| Err("write at least one".to_owned()), key);
        let set = if reader.is_set("RESTANTE_API_KEY") {
            reader.read("RESTANTE_API_KEY", value::optional(key))
        } else if reader.is_set("API_KEY") {
            reader.read("API_KEY", value::optional(first))
        } else {
            return Self::In(reader.read("DATA_DIR", value::path));
        };
        // Where it is none that has been noted as a mistake.
        Self::Known(set.unwrap_or_default())
    }
}

fn key(text: &str) -> value::Parsed<String> {
    text.parse::<ApiKey>().map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// Paths are put behind it.
fn url(text: &str) -> value::Parsed<String> {
    let is_plain =
        |url: &Url| matches!(url.scheme(), "http" | "https") && url.query().is_none() && url.fragment().is_none();
    match Url::parse(text) {
        Ok(url) if is_plain(&url) && text.contains("://") && text.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Ok(text.to_owned())
        }
        _ => Err("write a URL, such as http://127.0.0.1:8080 or https://mx.example.com".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn key(variables: &[(&str, &str)]) -> Result<String, String> {
        let variables: HashMap<_, _> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Client::find(None, None, &Variables::from(&variables)).map_err(|mistakes| mistakes.to_string())?.key()
    }

    #[test]
    fn the_key_is_the_nearest_that_is_set() {
        let dir = tempfile::tempdir().unwrap();
        let data = ("DATA_DIR", dir.path().to_str().unwrap());
        assert!(key(&[data]).unwrap_err().contains("RESTANTE_API_KEY"));
        fs::write(dir.path().join(KEY_FILE), "generated\n").unwrap();
        assert_eq!(key(&[data]).unwrap(), "generated");
        fs::write(dir.path().join(KEY_FILE), "not a key\n").unwrap();
        assert!(key(&[data]).unwrap_err().contains("visible ASCII"));
        assert_eq!(key(&[data, ("API_KEY", "a, b")]).unwrap(), "a");
        assert_eq!(key(&[data, ("API_KEY", "a"), ("RESTANTE_API_KEY", "c")]).unwrap(), "c");
        let mistakes = key(&[("RESTANTE_API_KEY", "s3cret s3cret"), ("RESTANTE_URL", "mx.example.com")]).unwrap_err();
        assert!(mistakes.contains("RESTANTE_URL=\"mx.example.com\": write a URL"), "{mistakes}");
        assert!(mistakes.contains("RESTANTE_API_KEY=(hidden)") && !mistakes.contains("s3cret"), "{mistakes}");
    }

    #[test]
    fn a_mistake_in_what_is_not_needed_is_none() {
        let found = |url, key, file| {
            let client = Client::find(url, key, &Variables::of_file(file)).map_err(|mistakes| mistakes.to_string())?;
            Ok((client.url.clone(), client.key()?))
        };
        let (url, key) = (Some("https://mx.example.com"), Some("k"));
        let good = |url: &str, key: &str| Ok::<_, String>((url.to_owned(), key.to_owned()));
        let others = "DATA_DIR=${HOME}/data\nAPI_KEY=sk-$foo\n";
        assert_eq!(found(None, key, others), good("http://127.0.0.1:8080", "k"));
        let own = format!("{others}RESTANTE_API_KEY=own\n");
        assert_eq!(found(url, None, &own), good("https://mx.example.com", "own"));
        assert_eq!(found(url, None, "DATA_DIR=${HOME}/data\nAPI_KEY=a,b\n"), good("https://mx.example.com", "a"));
        assert_eq!(found(url, None, "RESTANTE_URL=none\nAPI_KEY=a\n"), good("https://mx.example.com", "a"));
        for (url, key, file, line) in [
            (url, None, others, 2),
            (url, None, "DATA_DIR=${HOME}/data\n", 1),
            (url, None, "API_KEY=a\nRESTANTE_API_KEY=$b\n", 2),
            (None, key, "RESTANTE_URL=http://$HOST\n", 1),
        ] {
            let mistakes = found(url, key, file).unwrap_err();
            let expected = format!("1 mistake in the configuration\n  .env: line {line} ");
            assert!(mistakes.starts_with(&expected), "{file}: {mistakes}");
        }
    }

    #[test]
    fn what_is_given_is_read_as_the_variables_are() {
        let client = Client::load(Some("https://mx.example.com/mail/"), Some("s3cret")).unwrap();
        assert_eq!((client.url.as_str(), client.key()), ("https://mx.example.com/mail/", Ok("s3cret".to_owned())));
        for url in [
            "mx.example.com",
            "http:mx",
            "ftp://a",
            "http://",
            "http://:8080",
            "http://a:99999",
            "http://a/?b=c",
            "http://a b",
        ] {
            let mistakes = Client::load(Some(url), Some("s3cret key")).map(|_| ()).unwrap_err().to_string();
            assert!(mistakes.contains(&format!("--url {url:?}: write a URL")), "{mistakes}");
            assert!(mistakes.contains("--key: ") && !mistakes.contains("s3cret"), "{mistakes}");
        }
        assert!(Client::load(Some("http://a"), Some("")).map(|_| ()).unwrap_err().to_string().contains("is empty"));
    }
}
