//! The PROXY protocol, versions 1 and 2: what a balancer such as HAProxy sends first, to say whose connection it passes on.
//! Source: `proxy-protocol.txt` of HAProxy, sections 2.1 and 2.2.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::Buf;

/// What begins a header of version 2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
const FIXED_BYTES: usize = 16;
/// The most that may follow them: addresses, and what a balancer has to say about TLS.
const REST_MAX_BYTES: usize = 4096;
/// The longest and the shortest header of version 1, with its CRLF.
const LINE_MAX_BYTES: usize = 107;
const LINE_MIN_BYTES: usize = b"PROXY UNKNOWN\r\n".len();

/// Both ends of a connection, as the balancer sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) client: SocketAddr,
    pub(super) local: SocketAddr,
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// The connection is passed on for this client.
    Proxied(Ends),
    /// The balancer itself has connected, to see whether we are well, or it does not know for whom.
    Own,
}

/// There is no PROXY header at the start of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoHeader;

/// How much of a header is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// At least so many bytes more belong to it. What stands behind them is the client's, and not to be read here.
    Missing(usize),
    /// All of it.
    Whole(Header),
}

/// Reads the start of a connection, which is all that has been read of it.
///
/// # Errors
/// Where the connection does not begin with a header. The protocol forbids to guess: it has to be closed.
pub(super) fn read(start: &[u8]) -> Result<Progress, NoHeader> {
    let known = start.len().min(SIGNATURE.len());
    if known > 0 && start[..known] == SIGNATURE[..known] {
        return binary(start);
    }
    let is_text = start.iter().zip(b"PROXY ").all(|(said, wanted)| said == wanted);
    match start.strip_suffix(b"\n") {
        _ if !is_text || start.len() > LINE_MAX_BYTES => Err(NoHeader),
        None => Ok(Progress::Missing(LINE_MIN_BYTES.saturating_sub(start.len()).max(1))),
        Some(line) => std::str::from_utf8(line).ok().and_then(text).map(Progress::Whole).ok_or(NoHeader),
    }
}

/// `PROXY TCP4 192.0.2.1 198.51.100.1 56324 25` and a CR. What stands behind `UNKNOWN` is to be ignored.
fn text(line: &str) -> Option<Header> {
    let mut words = line.strip_suffix('\r')?.split(' ').skip(1);
    let family = words.next()?;
    if family == "UNKNOWN" {
        return Some(Header::Own);
    }
    let mut address = || -> Option<IpAddr> { words.next()?.parse().ok() };
    let (client, local) = (address()?, address()?);
    let is_of_family = match family {
        "TCP4" => client.is_ipv4() && local.is_ipv4(),
        "TCP6" => client.is_ipv6() && local.is_ipv6(),
        _ => false,
    };
    // One spelling each: no sign, no leading zeros.
    let mut port = || words.next().and_then(|word| word.parse().ok().filter(|port: &u16| port.to_string() == word));
    let (client_port, local_port) = (port()?, port()?);
    let ends = Ends { client: SocketAddr::new(client, client_port), local: SocketAddr::new(local, local_port) };
    (is_of_family && words.next().is_none()).then_some(Header::Proxied(ends))
}

fn binary(start: &[u8]) -> Result<Progress, NoHeader> {
    let Some((fixed, mut rest)) = start.split_at_checked(FIXED_BYTES) else {
        return Ok(Progress::Missing(FIXED_BYTES - start.len()));
    };
    let [command, family, len @ ..] = &fixed[SIGNATURE.len()..] else { return Err(NoHeader) };
    let rest_bytes = len.iter().fold(0, |len, &byte| (len << 8) | usize::from(byte));
    if !matches!(command, 0x20 | 0x21) || rest_bytes > REST_MAX_BYTES {
        return Err(NoHeader);
    }
    if rest.len() < rest_bytes {
        return Ok(Progress::Missing(rest_bytes - rest.len()));
    }
    // LOCAL, or a family that is no TCP over IP: the connection is the balancer's own as far as anybody can tell.
    let header = match (command, family) {
        (0x21, 0x11) if rest.len() >= 12 => {
            let [client, local] = [rest.get_u32(), rest.get_u32()].map(Ipv4Addr::from_bits);
            ends(client.into(), local.into(), rest)
        }
        (0x21, 0x21) if rest.len() >= 36 => {
            let [client, local] = [rest.get_u128(), rest.get_u128()].map(Ipv6Addr::from_bits);
            ends(client.into(), local.into(), rest)
        }
        (0x21, 0x11 | 0x21) => return Err(NoHeader),
        _ => Header::Own,
    };
    Ok(Progress::Whole(header))
}

fn ends(client: IpAddr, local: IpAddr, mut ports: &[u8]) -> Header {
    let [client_port, local_port] = [ports.get_u16(), ports.get_u16()];
    Header::Proxied(Ends { client: SocketAddr::new(client, client_port), local: SocketAddr::new(local, local_port) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn proxied(client: &str, local: &str) -> Header {
        Header::Proxied(Ends { client: client.parse().unwrap(), local: local.parse().unwrap() })
    }

    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &len, rest].concat()
    }

    fn good() -> Vec<(Vec<u8>, Header)> {
        let v4 = [192, 0, 2, 1, 198, 51, 100, 1, 0xdc, 0x04, 0, 25];
        let v6 =
            [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[1, 0x20, 1, 0xd, 0xb8], &[0; 11], &[2, 0xdc, 0x04, 0, 25]].concat();
        let with_more = [&v4[..], b"\x04\x00\x03abc"].concat();
        let line = |text: &str| text.as_bytes().to_vec();
        vec![
            (line("PROXY TCP4 192.0.2.1 198.51.100.1 56324 25\r\n"), proxied("192.0.2.1:56324", "198.51.100.1:25")),
            (
                line("PROXY TCP6 2001:db8::1 2001:db8::2 56324 25\r\n"),
                proxied("[2001:db8::1]:56324", "[2001:db8::2]:25"),
            ),
            (line("PROXY UNKNOWN\r\n"), Header::Own),
            (line("PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n"), Header::Own),
            (header(0x21, 0x11, &v4), proxied("192.0.2.1:56324", "198.51.100.1:25")),
            (header(0x21, 0x11, &with_more), proxied("192.0.2.1:56324", "198.51.100.1:25")),
            (header(0x21, 0x21, &v6), proxied("[2001:db8::1]:56324", "[2001:db8::2]:25")),
            (header(0x20, 0, b""), Header::Own),
            (header(0x20, 0x11, &v4), Header::Own),
            (header(0x21, 0x31, &[0; 216]), Header::Own),
        ]
    }

    #[test]
    fn a_header_is_read_once_it_is_whole_and_nothing_behind_it_is_asked_for() {
        for (header, said) in good() {
            let mut len = 0;
            while let Progress::Missing(missing) = read(&header[..len]).unwrap() {
                assert!(missing > 0);
                len += missing;
                assert!(len <= header.len(), "{}", header.escape_ascii());
            }
            assert_eq!(read(&header[..len]), Ok(Progress::Whole(said)), "{}", header.escape_ascii());
            assert_eq!(len, header.len(), "{}", header.escape_ascii());
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let long = format!("PROXY UNKNOWN {}", "x".repeat(LINE_MAX_BYTES));
        for bad in [
            &b"EHLO client.example\r\n"[..],
            b"E",
            b"PROXX",
            b"\r\nEHLO",
            b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 25\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.1 56324\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 25 1\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 65536\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.1 +5632 25\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 025\r\n",
            b"PROXY TCP4 2001:db8::1 2001:db8::2 56324 25\r\n",
            b"PROXY UDP4 192.0.2.1 198.51.100.1 56324 25\r\n",
            b"PROXY\r\n",
            b"PROXY UNKNOWN\xff\r\n",
            long.as_bytes(),
            &header(0x11, 0x11, &[0; 12]),
            &header(0x22, 0x11, &[0; 12]),
            &header(0x21, 0x11, &[0; 11]),
            &header(0x21, 0x21, &[0; 12]),
            &[&SIGNATURE[..], &[0x21, 0x11, 0xff, 0xff]].concat(),
        ] {
            assert_eq!(read(bad), Err(NoHeader), "{}", bad.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn never_more_than_its_bound_is_asked_for(bytes in proptest::collection::vec(any::<u8>(), 5000), start in 0usize..3) {
            let start: &[u8] = [&b""[..], b"PROXY ", SIGNATURE][start];
            let input = [start, &bytes].concat();
            let mut len = 0;
            while let Ok(Progress::Missing(missing)) = read(&input[..len]) {
                len += missing;
                prop_assert!(len <= FIXED_BYTES + REST_MAX_BYTES);
            }
        }
    }
}
