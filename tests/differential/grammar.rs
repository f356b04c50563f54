//! A grammar of MIME: each number is a message, always the same one.

use std::fmt::Write as _;

use encoding_rs::Encoding;

/// Texts, each with the charsets that can hold it.
const TEXTS: &[(&str, &[&str])] = &[
    ("plain words of nobody", &["us-ascii", "utf-8", "iso-8859-1", "koi8-r", "gb2312", "shift_jis"]),
    ("Grüße aus Köln, schöne Straße", &["utf-8", "iso-8859-1", "windows-1252", "iso-8859-15"]),
    ("Здравствуйте, ваш заказ", &["utf-8", "koi8-r", "windows-1251", "iso-8859-5"]),
    ("您好，订单已经发货", &["utf-8", "gb2312", "gbk", "gb18030"]),
    ("您好，訂單已經出貨", &["utf-8", "big5"]),
    ("こんにちは、ご注文", &["utf-8", "iso-2022-jp", "euc-jp", "shift_jis"]),
    ("안녕하세요 주문", &["utf-8", "euc-kr"]),
    ("Ελληνικά κείμενο", &["utf-8", "iso-8859-7", "windows-1253"]),
    ("price = 5 €, 100% = all_of_it?", &["utf-8", "windows-1252", "iso-8859-15"]),
];

const FILE_NAMES: &[&str] =
    &["report.pdf", "two words.txt", "größe.txt", "отчёт.doc", "文件.zip", "a;b=c.bin", "it's (1).png"];

const MULTIPARTS: &[&str] = &["mixed", "mixed", "alternative", "related", "report", "signed", "x-unknown"];

const FILE_TYPES: &[&str] = &[
    "image/png",
    "application/pdf",
    "application/octet-stream",
    "text/calendar",
    "text/csv",
    "application/pgp-signature",
];

/// Makes choices: the generator of Steele, Lea and Flood (SplitMix64, OOPSLA 2014).
struct Choices(u64);

impl Choices {
    fn number(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % below as u64).unwrap()
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.number(of.len())]
    }

    fn is(&mut self, one_in: usize) -> bool {
        self.number(one_in) == 0
    }

    fn bytes(&mut self, max: usize) -> Vec<u8> {
        (0..self.number(max)).map(|_| u8::try_from(self.number(256)).unwrap()).collect()
    }

    fn text(&mut self) -> (&'static str, &'static str) {
        let (text, charsets) = self.one(TEXTS);
        (text, self.one(charsets))
    }
}

/// The message of a number.
pub(crate) fn message(number: u64) -> Vec<u8> {
    let mut choices = Choices(number);
    let mut writer = Writer { boundaries: 0, line_break: if choices.is(4) { "\n" } else { "\r\n" } };
    let mut raw = writer.header(&mut choices);
    raw.extend(writer.part(&mut choices, 3));
    raw
}

struct Writer {
    boundaries: usize,
    line_break: &'static str,
}

impl Writer {
    fn lines(&self, lines: &[String]) -> Vec<u8> {
        lines.iter().flat_map(|line| line.replace('\n', self.line_break).into_bytes()).collect()
    }

    fn header(&self, choices: &mut Choices) -> Vec<u8> {
        let (text, charset) = choices.text();
        let subject = match choices.number(3) {
            0 if text.is_ascii() => text.to_owned(),
            1 => format!("{} {}", word(choices, text, charset), word(choices, text, charset)),
            _ => format!("Re: {}\n {}", word(choices, text, charset), word(choices, text, charset)),
        };
        let noise = choices.one(&["", "X-Noise: a\n\tb\n c\n", "Received: from x by y; z\nX-Empty:\n"]);
        let colon = choices.one(&[": ", ":", ":\t", ":  "]);
        self.lines(&[format!(
            "From: Ada <ada@sender.example>\n{noise}Subject{colon}{subject}\nTo: ben@restante.example\nMIME-Version: 1.0\n"
        )])
    }

    /// A part from its fields to its end.
    fn part(&mut self, choices: &mut Choices, depth: usize) -> Vec<u8> {
        match choices.number(5) {
            0 | 1 if depth > 0 => self.multipart(choices, depth),
            2 => self.file(choices),
            3 if depth > 0 && choices.is(2) => self.attached_message(choices),
            _ => self.text(choices),
        }
    }

    fn multipart(&mut self, choices: &mut Choices, depth: usize) -> Vec<u8> {
        self.boundaries += 1;
        let boundary = choices.one(&["=_b", "----b", "b c ", "b'()+_,./:=?"]).to_owned() + &self.boundaries.to_string();
        let kind = choices.one(MULTIPARTS);
        let name = choices.one(&["boundary", "Boundary", "BOUNDARY"]);
        let fold = choices.one(&["; ", ";\n ", ";\n\t", " ; charset=x;  "]);
        let mut raw = self.lines(&[format!("Content-Type: multipart/{kind}{fold}{name}=\"{boundary}\"\n\n")]);
        if choices.is(4) {
            raw.extend(self.lines(&["A preamble.\n--no delimiter\n".to_owned()]));
        }
        for _ in 0..=choices.number(3) {
            let blanks = choices.one(&["", "", " ", "\t "]);
            raw.extend(self.lines(&[format!("--{boundary}{blanks}\n")]));
            raw.extend(self.part(choices, depth - 1));
            raw.extend(self.lines(&["\n".to_owned()]));
        }
        // Some senders forget the end. Whose a line break before it would be is a matter of taste.
        if choices.is(12) {
            raw.extend(self.lines(&[format!("--{boundary}\n\nThe last words.")]));
            return raw;
        }
        raw.extend(self.lines(&[format!("--{boundary}--\n")]));
        if choices.is(4) {
            raw.extend(self.lines(&["An epilogue.\n".to_owned()]));
        }
        raw
    }

    fn text(&self, choices: &mut Choices) -> Vec<u8> {
        let (text, charset) = choices.text();
        let kind = choices.one(&["plain", "plain", "html", "HTML"]);
        let lines: String = (0..choices.number(4)).fold(String::new(), |mut lines, number| {
            _ = write!(lines, "{text} {number}{}", choices.one(&["\n", "\n\n", ""]));
            lines
        });
        let bytes = encode(&lines.replace('\n', self.line_break), charset);
        let label = if charset == "us-ascii" && choices.is(2) {
            String::new()
        } else {
            format!(
                "; charset={}",
                choices.one(&[charset.to_owned(), format!("\"{charset}\""), charset.to_uppercase()].each_ref())
            )
        };
        let disposition = match choices.number(6) {
            0 => self.disposition(choices, "attachment"),
            1 => "Content-Disposition: inline\n".to_owned(),
            _ => String::new(),
        };
        self.encoded(choices, &format!("Content-Type: text/{kind}{label}\n{disposition}"), &bytes)
    }

    fn file(&self, choices: &mut Choices) -> Vec<u8> {
        let kind = choices.one(FILE_TYPES);
        let word = choices.one(&["attachment", "ATTACHMENT", "inline"]);
        let disposition = self.disposition(choices, word);
        let id = if choices.is(3) { "Content-ID: <part@sender.example>\n" } else { "" };
        let bytes = choices.bytes(300);
        self.encoded(choices, &format!("Content-Type: {kind}\n{id}{disposition}"), &bytes)
    }

    fn attached_message(&self, choices: &mut Choices) -> Vec<u8> {
        let mut raw = self.lines(&["Content-Type: message/rfc822\n\n".to_owned()]);
        raw.extend(self.header(choices));
        raw.extend(self.text(choices));
        raw
    }

    fn disposition(&self, choices: &mut Choices, word: &str) -> String {
        let name = choices.one(FILE_NAMES);
        let percent = |text: &str| {
            text.bytes().fold(String::new(), |mut all, byte| {
                _ = write!(all, "%{byte:02X}");
                all
            })
        };
        let middle = name.floor_char_boundary(name.len() / 2);
        match choices.number(5) {
            0 if name.is_ascii() => format!("Content-Disposition: {word}; filename=\"{name}\"\n"),
            1 => format!("Content-Disposition: {word};\n filename*=utf-8''{}\n", percent(name)),
            2 => format!(
                "Content-Disposition: {word};\n\tfilename*0*=UTF-8'en'{};\n\tfilename*1*={}\n",
                percent(&name[..middle]),
                percent(&name[middle..])
            ),
            3 if name.is_ascii() => format!(
                "Content-Disposition: {word};\n filename*0=\"{}\";\n filename*1=\"{}\"\n",
                &name[..middle],
                &name[middle..]
            ),
            4 => format!("Content-Disposition: {word}\n"),
            _ => format!("Content-Disposition: {word};\n filename=\"{}\"\n", word_b(name, "utf-8")),
        }
    }

    /// A part with these fields, in a transfer encoding that its bytes allow.
    fn encoded(&self, choices: &mut Choices, fields: &str, bytes: &[u8]) -> Vec<u8> {
        let is_text = bytes.iter().all(|byte| byte.is_ascii_graphic() || b" \r\n\t".contains(byte));
        let (encoding, body) = match choices.number(3) {
            0 if is_text => (choices.one(&["", "Content-Transfer-Encoding: 7bit\n"]), bytes.to_vec()),
            0 if fields.contains("text/") && !bytes.contains(&b'\0') => {
                ("Content-Transfer-Encoding: 8bit\n", bytes.to_vec())
            }
            1 => ("Content-Transfer-Encoding: Quoted-Printable\n", self.quoted_printable(choices, bytes)),
            _ => (
                "Content-Transfer-Encoding: base64\n",
                self.lines(&bytes.chunks(57).map(|line| base64(line) + "\n").collect::<Vec<_>>()),
            ),
        };
        let mut raw = self.lines(&[fields.to_owned(), encoding.to_owned(), "\n".to_owned()]);
        raw.extend(body);
        raw
    }

    fn quoted_printable(&self, choices: &mut Choices, bytes: &[u8]) -> Vec<u8> {
        let mut text = String::new();
        for (place, &byte) in bytes.iter().enumerate() {
            match byte {
                b'!'..=b'<' | b'>'..=b'~' if !choices.is(20) => text.push(char::from(byte)),
                _ => _ = write!(text, "={byte:02X}"),
            }
            if place % 20 == 19 {
                text.push_str("=\n");
            }
        }
        self.lines(&[text])
    }
}

fn encode(text: &str, charset: &str) -> Vec<u8> {
    Encoding::for_label(charset.as_bytes()).unwrap().encode(text).0.into_owned()
}

/// An encoded word of a text.
fn word(choices: &mut Choices, text: &str, charset: &str) -> String {
    if choices.is(2) {
        return word_b(text, charset);
    }
    let encoded = encode(text, charset).iter().fold(String::new(), |mut encoded, &byte| {
        match byte {
            b' ' => encoded.push('_'),
            byte if byte.is_ascii_alphanumeric() => encoded.push(char::from(byte)),
            byte => _ = write!(encoded, "={byte:02x}"),
        }
        encoded
    });
    format!("=?{charset}?{}?{encoded}?=", choices.one(&["q", "Q"]))
}

fn word_b(text: &str, charset: &str) -> String {
    format!("=?{charset}?B?{}?=", base64(&encode(text, charset)))
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let at = |place: usize| u32::from(group.get(place).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4 {
            let digit = usize::try_from(bits >> (18 - 6 * place) & 63).unwrap();
            text.push(if place > group.len() { '=' } else { char::from(ALPHABET[digit]) });
        }
    }
    text
}
