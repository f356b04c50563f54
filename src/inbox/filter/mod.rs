//! Which messages are meant: conditions on what a message says, as a value that is matched without looking anything up.

mod parse;
mod pattern;

use std::borrow::Cow;
use std::fmt;

pub use self::parse::FilterError;
use self::pattern::Pattern;
use super::turns::Stop;
use crate::clock::Timestamp;
use crate::mail::{HeaderAddress, HeaderField};
use crate::store::Stored;

/// How much of a value is shown where it is not the wanted one, in characters.
const SHOWN_MAX_CHARS: usize = 120;

/// Conditions that a message has to meet, all of them. The default one has none and takes every message.
#[derive(Clone, Debug, Default)]
pub struct Filter(Vec<Clause>);

/// One condition.
#[derive(Clone, Debug)]
enum Clause {
    Test(Test),
    Not(Box<Self>),
    /// Any of these.
    Any(Vec<Self>),
    /// All of these.
    All(Vec<Self>),
}

/// A question to one message.
#[derive(Clone, Debug)]
enum Test {
    Text(Field, Pattern),
    /// A header field of this name, with a value that matches where one is asked for.
    Header(String, Option<Pattern>),
    Has(Thing),
    Larger(u64),
    Smaller(u64),
    Before(Timestamp),
    After(Timestamp),
}

/// Where a text is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Anywhere,
    From,
    To,
    Cc,
    Subject,
    Body,
    Filename,
    Code,
    Link,
}

/// What a message may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Thing {
    Attachment,
    Text,
    Html,
    Code,
    Link,
}

/// A message, and its header where it has been looked up.
#[derive(Clone, Copy)]
struct Candidate<'a> {
    stored: &'a Stored,
    headers: &'a [HeaderField],
    stop: &'a Stop,
}

impl Filter {
    /// Messages with a code in them.
    #[must_use]
    pub fn has_code() -> Self {
        Self(vec![Clause::Test(Test::Has(Thing::Code))])
    }

    /// Messages with a link to act on.
    #[must_use]
    pub fn has_link() -> Self {
        Self(vec![Clause::Test(Test::Has(Thing::Link))])
    }

    /// All conditions of both.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Whether there is no condition.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many conditions there are, one in parentheses counted as one.
    #[must_use]
    pub const fn conditions(&self) -> usize {
        self.0.len()
    }

    /// Whether a look at a message has to be given its header.
    #[must_use]
    pub fn wants_headers(&self) -> bool {
        self.0.iter().any(Clause::wants_headers)
    }

    /// What the regular expressions take, compiled. The work of a search is at most so many steps for each byte that they
    /// look in.
    #[must_use]
    pub fn expression_bytes(&self) -> usize {
        self.0.iter().map(Clause::expression_bytes).sum()
    }

    /// Whether the message meets all conditions. `headers` may be empty where they are not wanted. Once it is said to `stop`, the
    /// answer comes soon and means nothing.
    pub(super) fn matches(&self, stored: &Stored, headers: &[HeaderField], stop: &Stop) -> bool {
        let candidate = Candidate { stored, headers, stop };
        self.0.iter().all(|clause| clause.holds(candidate))
    }

    /// The conditions that the message does not meet, and what it has instead, in words. `stop` is as of [`Filter::matches`].
    pub(super) fn misses(&self, stored: &Stored, headers: &[HeaderField], stop: &Stop) -> Vec<String> {
        let candidate = Candidate { stored, headers, stop };
        self.0.iter().filter(|clause| !clause.holds(candidate)).map(|clause| clause.miss(candidate)).collect()
    }
}

impl Clause {
    fn wants_headers(&self) -> bool {
        match self {
            Self::Test(test) => matches!(test, Test::Header(..)),
            Self::Not(clause) => clause.wants_headers(),
            Self::Any(clauses) | Self::All(clauses) => clauses.iter().any(Self::wants_headers),
        }
    }

    fn expression_bytes(&self) -> usize {
        match self {
            Self::Test(Test::Text(_, pattern) | Test::Header(_, Some(pattern))) => pattern.expression_bytes(),
            Self::Test(_) => 0,
            Self::Not(clause) => clause.expression_bytes(),
            Self::Any(clauses) | Self::All(clauses) => clauses.iter().map(Self::expression_bytes).sum(),
        }
    }

    fn holds(&self, candidate: Candidate<'_>) -> bool {
        match self {
            Self::Test(test) => test.holds(candidate),
            Self::Not(clause) => !clause.holds(candidate),
            Self::Any(clauses) => clauses.iter().any(|clause| clause.holds(candidate)),
            Self::All(clauses) => clauses.iter().all(|clause| clause.holds(candidate)),
        }
    }

    fn miss(&self, candidate: Candidate<'_>) -> String {
        match self {
            Self::Test(test) => test.miss(candidate),
            Self::Not(_) => format!("{self}: not wanted, but it is there"),
            Self::Any(_) => format!("{self}: none of these"),
            Self::All(clauses) => {
                let missed = clauses.iter().filter(|clause| !clause.holds(candidate));
                missed.map(|clause| clause.miss(candidate)).collect::<Vec<_>>().join("; ")
            }
        }
    }
}

impl Test {
    fn holds(&self, Candidate { stored, headers, stop }: Candidate<'_>) -> bool {
        let content = &stored.message.content;
        match self {
            Self::Text(field, pattern) => field.texts(stored).any(|text| pattern.is_in(&text, stop)),
            Self::Header(name, pattern) => {
                let mut values = headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
                values.any(|field| pattern.as_ref().is_none_or(|pattern| pattern.is_in(&field.value, stop)))
            }
            Self::Has(Thing::Attachment) => !content.attachments.is_empty(),
            Self::Has(Thing::Text) => content.text.is_some(),
            Self::Has(Thing::Html) => content.html.is_some(),
            Self::Has(Thing::Code) => !content.codes.is_empty(),
            Self::Has(Thing::Link) => content.action_link().is_some(),
            Self::Larger(size) => stored.message.size > *size,
            Self::Smaller(size) => stored.message.size < *size,
            Self::Before(time) => stored.message.received_at < *time,
            Self::After(time) => stored.message.received_at >= *time,
        }
    }

    fn miss(&self, Candidate { stored, headers, .. }: Candidate<'_>) -> String {
        let got = |values: Vec<String>| match values.as_slice() {
            [] => "it has none".to_owned(),
            values => format!("got {}", values.join(", ")),
        };
        match self {
            // What may be a whole page is not repeated.
            Self::Text(Field::Body | Field::Anywhere | Field::Link, _) => format!("{self}: not found"),
            Self::Text(field, pattern) => format!(
                "{}: wanted {pattern}, {}",
                field.name(),
                got(field.texts(stored).map(|text| shown(&text)).collect())
            ),
            Self::Header(name, pattern) => {
                let values = headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
                let wanted = pattern.as_ref().map(|pattern| format!(" wanted {pattern},")).unwrap_or_default();
                format!("header {name}:{wanted} {}", got(values.map(|field| shown(&field.value)).collect()))
            }
            Self::Has(Thing::Code) => format!("{self}: no code was found in it"),
            Self::Has(Thing::Link) => format!("{self}: no link to act on was found in it"),
            Self::Has(_) => format!("{self}: it has none"),
            Self::Larger(_) | Self::Smaller(_) => format!("{self}: it has {} bytes", stored.message.size),
            Self::Before(_) | Self::After(_) => {
                format!("{self}: it came at {}", stored.message.received_at.as_secs())
            }
        }
    }
}

impl Field {
    /// The texts to look in, each by itself.
    fn texts(self, stored: &Stored) -> Box<dyn Iterator<Item = Cow<'_, str>> + '_> {
        let content = &stored.message.content;
        let fields = |wanted: &'static [Self]| wanted.iter().flat_map(move |field| field.texts(stored));
        match self {
            Self::Anywhere => {
                Box::new(fields(&[Self::Subject, Self::From, Self::To, Self::Cc, Self::Body, Self::Filename]))
            }
            Self::From => {
                let sender = stored.message.mail_from.iter().map(|address| address.to_string().into());
                Box::new(sender.chain(content.from.iter().flat_map(parts)))
            }
            Self::To => {
                let recipients = stored.rcpt_to.iter().map(|to| to.address.to_string().into());
                Box::new(recipients.chain(content.to.iter().flat_map(parts)))
            }
            Self::Cc => Box::new(content.cc.iter().flat_map(parts)),
            Self::Code => Box::new(content.codes.iter().map(|code| code.value.as_str().into())),
            Self::Link => {
                Box::new(content.links.iter().flat_map(|link| [link.href.as_str().into(), link.text.as_str().into()]))
            }
            Self::Subject => Box::new(content.subject.iter().map(Into::into)),
            Self::Body => Box::new(content.text.iter().chain(&content.html).map(Into::into)),
            Self::Filename => {
                Box::new(content.attachments.iter().filter_map(|file| file.filename.as_deref().map(Into::into)))
            }
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Anywhere => "anywhere",
            Self::From => "from",
            Self::To => "to",
            Self::Cc => "cc",
            Self::Subject => "subject",
            Self::Body => "body",
            Self::Filename => "filename",
            Self::Code => "code",
            Self::Link => "link",
        }
    }
}

fn parts(address: &HeaderAddress) -> impl Iterator<Item = Cow<'_, str>> {
    address.name.iter().chain(&address.address).map(Into::into)
}

/// The beginning of a value, in quotes.
fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX_CHARS) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

impl fmt::Display for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined =
            |clauses: &[Self], between: &str| clauses.iter().map(ToString::to_string).collect::<Vec<_>>().join(between);
        match self {
            Self::Test(test) => test.fmt(f),
            Self::Not(clause) => write!(f, "-{clause}"),
            Self::Any(clauses) => f.write_str(&joined(clauses, " OR ")),
            Self::All(clauses) => write!(f, "({})", joined(clauses, " ")),
        }
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(Field::Anywhere, pattern) => pattern.fmt(f),
            Self::Text(field, pattern) => write!(f, "{}:{pattern}", field.name()),
            Self::Header(name, None) => write!(f, "header:{name}"),
            Self::Header(name, Some(pattern)) => write!(f, "header:{name}={pattern}"),
            Self::Has(thing) => write!(f, "has:{}", thing.name()),
            Self::Larger(size) => write!(f, "larger:{size}"),
            Self::Smaller(size) => write!(f, "smaller:{size}"),
            Self::Before(time) => write!(f, "before:{}", time.as_secs()),
            Self::After(time) => write!(f, "after:{}", time.as_secs()),
        }
    }
}

impl Thing {
    const fn name(self) -> &'static str {
        match self {
            Self::Attachment => "attachment",
            Self::Text => "text",
            Self::Html => "html",
            Self::Code => "code",
            Self::Link => "link",
        }
    }
}

#[cfg(test)]
mod tests;
