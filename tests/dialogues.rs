//! Runs the scripted dialogues of `tests/dialogues/`: on the pure session with the input cut in every way, and over a
//! real socket. The format is explained in `tests/dialogues/README.md`.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use restante::mail::{Body, Envelope, MailParameters};
use restante::shutdown::Shutdown;
use restante::smtp::{Attempt, BareLf, SessionSettings, Transport};

use crate::dialogue::session_settings;
use crate::loopback::{Client, DEADLINE, Recorder, listen, server_settings, tls};
use crate::play::Player;

#[path = "support/dialogue.rs"]
mod dialogue;
#[path = "support/loopback.rs"]
mod loopback;
#[path = "support/play.rs"]
mod play;

/// A dialogue, read from its file.
struct Script {
    name: String,
    settings: Arc<SessionSettings>,
    starttls: bool,
    /// One stage in clear text, and one more for each TLS handshake.
    stages: Vec<Vec<Turn>>,
    delivered: Vec<Delivery>,
    /// The mail that did not get in, as the backend was told of it; not looked at where the script has nothing of it.
    refused: Vec<String>,
}

/// What the client sends at a time, and what it is told then.
#[derive(Default)]
struct Turn {
    client: Vec<Vec<u8>>,
    server: Vec<Expected>,
}

struct Expected {
    line_number: usize,
    text: String,
}

/// A message that the backend has kept.
#[derive(Debug, PartialEq, Eq)]
struct Delivery {
    envelope: String,
    raw: Vec<u8>,
}

impl Script {
    fn parse(name: &str, text: &str) -> Result<Self, String> {
        let mut script = Self {
            name: name.to_owned(),
            settings: Arc::new(session_settings()),
            starttls: false,
            stages: vec![vec![Turn::default()]],
            delivered: Vec::new(),
            refused: Vec::new(),
        };
        for (at, line) in text.lines().enumerate() {
            script.take(at + 1, line).map_err(|error| format!("{name}:{}: {error}", at + 1))?;
        }
        Ok(script)
    }

    fn take(&mut self, line_number: usize, line: &str) -> Result<(), String> {
        if line.is_empty() || line.starts_with('#') {
            return Ok(());
        }
        if let Some(setting) = line.strip_prefix('@') {
            let (name, value) = setting.split_once(' ').ok_or("write @name value")?;
            return self.set(name, value);
        }
        let (mark, text) = line.split_at_checked(2).ok_or("a line begins with C: C- S: E: M: or R:")?;
        let text = text.strip_prefix(' ').unwrap_or(text);
        match mark {
            "C:" => self.turn().client.push([unescape(text)?, b"\r\n".to_vec()].concat()),
            "C-" => self.turn().client.push(unescape(text)?),
            "S:" => {
                let stage = self.stages.last_mut().ok_or("no stage")?;
                let turn = stage.last_mut().ok_or("no turn")?;
                turn.server.push(Expected { line_number, text: text.to_owned() });
                if text == "[tls]" {
                    self.stages.push(vec![Turn::default()]);
                }
            }
            "E:" => self.delivered.push(Delivery { envelope: text.to_owned(), raw: Vec::new() }),
            "R:" => self.refused.push(text.to_owned()),
            "M:" => self.delivered.last_mut().ok_or("E: comes before M:")?.raw.extend(unescape(text)?),
            _ => return Err(format!("{mark} is no mark of a line")),
        }
        Ok(())
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let settings = Arc::make_mut(&mut self.settings);
        let number = value.parse::<u32>().map_err(|error| format!("{value:?}: {error}"));
        match (name, value) {
            ("starttls", "on") => self.starttls = true,
            ("tls", "required") => settings.require_tls = true,
            ("dsn", "off") => settings.dsn = false,
            ("bare_lf", "keep") => settings.bare_lf = BareLf::Keep,
            ("max_command_bytes", _) => settings.max_command_bytes = number? as usize,
            ("max_message_bytes", _) => settings.max_message_bytes = number? as usize,
            ("max_recipients", _) => settings.max_recipients = number? as usize,
            ("max_errors", _) => settings.max_errors = number?,
            ("max_noops", _) => settings.max_noops = number?,
            ("max_text_line_bytes", _) => settings.max_text_line_bytes = number? as usize,
            _ => return Err(format!("@{name} {value} is no setting")),
        }
        Ok(())
    }

    /// The turn that the client's next words belong to: a new one once the server has spoken.
    fn turn(&mut self) -> &mut Turn {
        let stage = self.stages.last_mut().expect("there is a stage from the start");
        if stage.last().is_none_or(|turn| !turn.server.is_empty()) {
            stage.push(Turn::default());
        }
        stage.last_mut().expect("there is a turn now")
    }

    fn expected(&self) -> impl Iterator<Item = &Expected> {
        self.stages.iter().flatten().flat_map(|turn| &turn.server)
    }

    /// All that the client sends in each stage.
    fn inputs(&self) -> Vec<Vec<u8>> {
        self.stages.iter().map(|turns| turns.iter().flat_map(|turn| turn.client.concat()).collect()).collect()
    }

    /// Checks the reply lines so far against the first `count` of the script.
    fn check_transcript(&self, count: usize, transcript: &[String]) -> Result<(), String> {
        for (expected, said) in self.expected().take(count).zip(transcript) {
            self.check_line(expected, said)?;
        }
        if transcript.len() > count {
            return Err(format!("{}: {:?} was not expected", self.name, transcript[count]));
        }
        match self.expected().take(count).nth(transcript.len()) {
            Some(missing) => Err(format!("{}:{}: {:?} was not said", self.name, missing.line_number, missing.text)),
            None => Ok(()),
        }
    }

    /// A script gives the beginning of a line, in whole words.
    fn check_line(&self, expected: &Expected, said: &str) -> Result<(), String> {
        match said.strip_prefix(expected.text.as_str()) {
            Some(rest) if rest.is_empty() || rest.starts_with(' ') => Ok(()),
            _ => Err(format!("{}:{}: expected {:?}, heard {said:?}", self.name, expected.line_number, expected.text)),
        }
    }

    fn check_mail(&self, delivered: &[(Envelope, Bytes)], refused: &[Attempt]) -> Result<(), String> {
        let delivered: Vec<_> = delivered.iter().map(Delivery::of).collect();
        if delivered != self.delivered {
            return Err(format!("{}: expected {:?}, kept was {delivered:?}", self.name, self.delivered));
        }
        let told: Vec<_> = refused.iter().map(told).collect();
        let is_as_written = |(told, written): (&String, &String)| told.starts_with(written.as_str());
        let all_are = told.len() == self.refused.len() && told.iter().zip(&self.refused).all(is_as_written);
        if all_are || self.refused.is_empty() {
            return Ok(());
        }
        Err(format!("{}: expected {:?}, refused was {told:?}", self.name, self.refused))
    }

    /// Each line by itself, and the replies of each turn before the next one begins.
    fn play_as_written(&self) -> Result<(), String> {
        let mut player = Player::new(&self.settings, self.starttls);
        let mut heard = 0;
        for (number, turns) in self.stages.iter().enumerate() {
            if number > 0 {
                player.handshake();
            }
            for turn in turns {
                turn.client.iter().for_each(|piece| player.feed(piece));
                heard += turn.server.len();
                self.check_transcript(heard, &player.transcript)?;
            }
        }
        self.check_mail(&player.delivered, &player.refused)
    }

    /// Everything that may be sent at once, in the pieces that `cut` makes of it.
    fn play_cut(&self, cut: impl Fn(&[u8]) -> Vec<&[u8]>) -> Result<(), String> {
        let mut player = Player::new(&self.settings, self.starttls);
        for (number, input) in self.inputs().iter().enumerate() {
            if number > 0 {
                player.handshake();
            }
            cut(input).into_iter().for_each(|piece| player.feed(piece));
        }
        self.check_transcript(self.expected().count(), &player.transcript)?;
        self.check_mail(&player.delivered, &player.refused)
    }

    async fn play_on_socket(&self) -> Result<(), String> {
        let (tasks, recorder, (server_tls, connector)) = (Shutdown::new(), Recorder::default(), tls());
        let settings = server_settings((*self.settings).clone());
        let addr =
            listen(settings, recorder.clone(), self.starttls.then_some(server_tls), Transport::Clear, &tasks).await;
        let failed = |error: std::io::Error| format!("{}: {error}", self.name);
        let mut client = Client::connect(addr).await.map_err(failed)?;
        let mut open = true;
        for turn in self.stages.iter().flatten() {
            client.send(&turn.client.concat()).await.map_err(failed)?;
            for expected in &turn.server {
                if expected.text == "[tls]" {
                    client = client.start_tls(&connector).await.map_err(failed)?;
                    continue;
                }
                let said = client.line().await.map_err(failed)?;
                open = said.is_some();
                self.check_line(expected, said.as_deref().unwrap_or("[closed]"))?;
            }
        }
        if open {
            client.finish().await.map_err(failed)?;
            if let Some(said) = client.line().await.map_err(failed)? {
                return Err(format!("{}: {said:?} was not expected", self.name));
            }
        }
        // The server waits a moment for its client to close too.
        drop(client);
        assert_eq!(tasks.stop(DEADLINE).await, 0, "{}: the server did not stop", self.name);
        self.check_mail(&recorder.delivered(), &recorder.kept_out())
    }
}

impl Delivery {
    /// `<sender> -> <recipient>, <recipient NOTIFY=…>` and what the client said about the message.
    fn of((envelope, raw): &(Envelope, Bytes)) -> Self {
        Self { envelope: paths(envelope) + &parameters(&envelope.parameters), raw: raw.to_vec() }
    }
}

/// `<sender> -> <recipient>, <recipient>: reply`
fn told(Attempt { envelope, written_from, reply }: &Attempt) -> String {
    let reply = reply.as_ref().map_or_else(|| "[gone]".to_owned(), ToString::to_string);
    let written = written_from.as_ref().map(|text| format!("{text:?} ")).unwrap_or_default();
    format!("{written}{}: {reply}", paths(envelope))
}

fn paths(envelope: &Envelope) -> String {
    let from = envelope.mail_from.as_ref().map(ToString::to_string).unwrap_or_default();
    let to: Vec<_> = envelope.rcpt_to.iter().map(|to| format!("<{to}>")).collect();
    format!("<{from}> -> {}", to.join(", "))
}

/// What MAIL said, in words with a blank before each.
fn parameters(said: &MailParameters) -> String {
    let words = [
        said.size.map(|size| format!("size={size}")),
        said.body.map(|body| format!("body={}", if body == Body::SevenBit { "7bit" } else { "8bitmime" })),
        said.smtputf8.then(|| "smtputf8".to_owned()),
        said.ret.map(|ret| format!("ret={ret:?}").to_lowercase()),
        said.envid.as_ref().map(|envid| format!("envid={envid}")),
    ];
    words.into_iter().flatten().map(|word| format!(" {word}")).collect()
}

/// Reads `\r`, `\n`, `\0`, `\xNN` and `\\`.
fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        let (&escape, tail) = rest.split_first().ok_or("a backslash ends the line")?;
        rest = tail;
        bytes.push(match escape {
            b'r' => b'\r',
            b'n' => b'\n',
            b'0' => 0,
            b'\\' => b'\\',
            b'x' => {
                let digits = rest.split_off(..2).and_then(|digits| std::str::from_utf8(digits).ok());
                digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).ok_or("\\x wants two hex digits")?
            }
            other => return Err(format!("\\{} is no escape", other.escape_ascii())),
        });
    }
    Ok(bytes)
}

fn scripts() -> Vec<Script> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogues");
    let entries = fs::read_dir(folder).expect("the folder of dialogues can be read");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("the folder can be read").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "smtp"));
    paths.sort();
    let read = |path: &std::path::PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{name}: {error}"));
        Script::parse(&name, &text).unwrap_or_else(|error| panic!("{error}"))
    };
    paths.iter().map(read).collect()
}

/// Plays every script and shows all failures at once.
fn each_script(play: impl Fn(&Script) -> Result<(), String>) {
    let scripts = scripts();
    assert!(scripts.len() >= 70, "only {} dialogues were found", scripts.len());
    let failures: Vec<_> = scripts.iter().filter_map(|script| play(script).err()).collect();
    assert!(failures.is_empty(), "{} dialogues failed:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn each_dialogue_goes_as_written() {
    each_script(Script::play_as_written);
}

#[test]
fn each_dialogue_goes_the_same_in_one_piece() {
    each_script(|script| script.play_cut(|input| vec![input]));
}

#[test]
fn each_dialogue_goes_the_same_byte_by_byte() {
    each_script(|script| script.play_cut(|input| input.chunks(1).collect()));
}

#[test]
fn each_dialogue_goes_the_same_cut_in_two_anywhere() {
    each_script(|script| {
        let longest = script.inputs().iter().map(Vec::len).max().unwrap_or_default();
        assert!(longest < 4_000, "{}: too long to be cut everywhere", script.name);
        (0..=longest).try_for_each(|at| {
            let cut = |input: &[u8]| at.min(input.len());
            script
                .play_cut(|input| <[&[u8]; 2]>::from(input.split_at(cut(input))).to_vec())
                .map_err(|error| format!("cut at byte {at}: {error}"))
        })
    });
}

#[tokio::test]
async fn each_dialogue_goes_the_same_over_a_socket() {
    for script in scripts() {
        // The first failure is enough: each may have waited for its deadline, and the pure session has shown them all.
        script.play_on_socket().await.unwrap_or_else(|error| panic!("{error}"));
    }
}
