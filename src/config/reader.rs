//! Reads variables and collects what is wrong with them.

use super::Mistakes;
use super::source::{ENV_FILE, Variables};
use super::value::Parsed;
use super::variables::{VARIABLES, Variable};

/// From this length on a name may have two slips of the pen; a shorter one with two may well be another word.
const LONG_NAME: usize = 12;
/// From this length on the beginning of a name is told from other words.
const LONG_BEGINNING: usize = 8;

/// Names that others use, though they look like ours: the key of a Laravel application, and where many a web server listens.
const OF_OTHERS: [&str; 2] = ["APP_KEY", "HTTP_HOST"];

/// Names that are likely to be written for ours, though more than some letters of them are others.
const LIKELY: [(&str, &str); 2] = [("RESTANTE_KEY", "RESTANTE_API_KEY"), ("TRUSTED_PROXY", "TRUSTED_PROXIES")];

/// The variables, and what was found wrong with them.
pub(super) struct Reader<'a> {
    variables: &'a Variables,
    mistakes: Vec<String>,
    warnings: Vec<String>,
}

/// What a reader has to say of variables without a mistake.
pub(super) struct Findings {
    /// What may not be as it was meant to be.
    pub(super) warnings: Vec<String>,
    /// Every variable as it may be shown.
    pub(super) shown: Vec<(&'static str, String)>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(variables: &'a Variables) -> Self {
        Self { variables, mistakes: Vec::new(), warnings: Vec::new() }
    }

    /// The value of a variable. Where it is wrong that is noted, and the default goes on in its place, so that the other
    /// mistakes are found too.
    pub(super) fn read<T>(&mut self, name: &'static str, parse: impl Fn(&str) -> Parsed<T>) -> T {
        let variable = described(name);
        let mistake = match (self.variables.get(name), parse(self.text(variable))) {
            (Some(Err(mistake)), _) => mistake.to_owned(),
            (_, Ok(value)) => return value,
            (_, Err(allowed)) => {
                let shown = if variable.secret { "(hidden)".to_owned() } else { format!("{:?}", self.text(variable)) };
                format!("{name}={shown}: {allowed}")
            }
        };
        self.mistake(mistake);
        parse(variable.default).unwrap_or_else(|error| panic!("the default of {name} is wrong: {error}"))
    }

    /// Whether a variable has a value of its own, be it one that cannot be read; an empty one counts as not set, as
    /// compose files pass it on.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.variables.get(name).is_some_and(|value| value.map_or(true, |value| !value.trim().is_empty()))
    }

    /// A variable as it is written.
    pub(super) fn value(&self, name: &str) -> &str {
        self.text(described(name))
    }

    /// Notes a mistake; a variable that is read in two places has it once.
    pub(super) fn mistake(&mut self, text: String) {
        if !self.mistakes.contains(&text) {
            self.mistakes.push(text);
        }
    }

    pub(super) fn warn(&mut self, text: String) {
        self.warnings.push(text);
    }

    /// All mistakes so far.
    pub(super) fn mistakes(self) -> Result<(), Mistakes> {
        if self.mistakes.is_empty() { Ok(()) } else { Err(Mistakes { mistakes: self.mistakes, misspelt: Vec::new() }) }
    }

    /// All mistakes, or what else there is to say.
    pub(super) fn finish(mut self) -> Result<Findings, Mistakes> {
        let misspelt = self.misspelt();
        if !self.mistakes.is_empty() {
            return Err(Mistakes { mistakes: self.mistakes, misspelt });
        }
        self.warnings.extend(misspelt);
        let show = |variable: &Variable| match self.text(variable) {
            text if variable.secret && !text.is_empty() => "(hidden)".to_owned(),
            text => text.to_owned(),
        };
        let shown = VARIABLES.iter().map(|variable| (variable.name, show(variable))).collect();
        Ok(Findings { warnings: self.warnings, shown })
    }

    fn text(&self, variable: &Variable) -> &str {
        match self.variables.get(variable.name) {
            Some(Ok(value)) if !value.trim().is_empty() => value.trim(),
            _ => variable.default,
        }
    }

    /// A misspelt variable is silently the default, which is why it is said; but it stops nothing, as both the
    /// environment and the file have others' variables too, one of which may look like ours. Where the right name is
    /// written as well, nothing is missing.
    fn misspelt(&self) -> Vec<String> {
        let is_missing = |meant: &&Variable| self.variables.get(meant.name).is_none();
        let said = |(name, is_of_file)| {
            let meant = meant_by(name).filter(is_missing)?.name;
            let text = format!("{name} is not known; did you mean {meant}?");
            Some(if is_of_file {
                format!("{ENV_FILE}: {text} If another program has it there, write {meant}= beside it")
            } else {
                text
            })
        };
        self.variables.names().filter_map(said).collect()
    }
}

/// The variable that was probably meant by a name that is none.
fn meant_by(name: &str) -> Option<&'static Variable> {
    if VARIABLES.iter().any(|known| known.name == name) || OF_OTHERS.contains(&name) {
        return None;
    }
    let name = name.to_ascii_uppercase();
    if let Some((_, meant)) = LIKELY.iter().find(|(likely, _)| *likely == name) {
        return Some(described(meant));
    }
    let nearest = nearest(&name).or_else(|| nearest(&name.replace("ADDRESS", "ADDR")));
    let is_beginning = name.len() >= LONG_BEGINNING && name.contains('_');
    nearest.or_else(|| VARIABLES.iter().find(|known| is_beginning && known.name.starts_with(&format!("{name}_"))))
}

/// The variable that somebody meant who wrote `name` with some slips of the pen.
fn nearest(name: &str) -> Option<&'static Variable> {
    VARIABLES.iter().min_by_key(|known| slips(name, known.name)).filter(|known| is_slip(name, known.name))
}

/// Whether somebody who meant `known` may have written `name`.
fn is_slip(name: &str, known: &str) -> bool {
    let first = |name: &str| name.split('_').next().map(str::to_owned);
    match slips(name, known) {
        0 | 1 => true,
        2 => known.len() >= LONG_NAME && first(name) == first(known),
        _ => false,
    }
}

fn described(name: &str) -> &'static Variable {
    let found = VARIABLES.iter().find(|variable| variable.name == name);
    found.unwrap_or_else(|| panic!("{name} is not in the list of variables"))
}

/// The number of letters to be changed, added, taken away or exchanged with the next one to make `a` into `b` (Damerau, the
/// variant that is called optimal string alignment).
fn slips(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut before_last = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let changed = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = changed.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before_last[j - 2] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_counted() {
        for (a, b, expected) in [
            ("SMTP_ADDR", "SMTP_ADDR", 0),
            ("SMTP_ADR", "SMTP_ADDR", 1),
            ("SMPT_ADDR", "SMTP_ADDR", 1),
            ("DOMAINS", "DOMAIN", 1),
            ("SSL", "TLS", 2),
            ("", "abc", 3),
            ("abc", "", 3),
        ] {
            assert_eq!(slips(a, b), expected, "{a} {b}");
        }
    }

    #[test]
    fn a_slip_of_the_pen_is_told_from_the_variables_of_others() {
        for (name, meant) in [
            ("DOMAINS", "DOMAIN"),
            ("RETENTON", "RETENTION"),
            ("STOR", "STORE"),
            ("SMPT_ADDR", "SMTP_ADDR"),
            ("METRIC_ADDR", "METRICS_ADDR"),
            ("smtp_addr", "SMTP_ADDR"),
            ("REDIS_PASSWD", "REDIS_PASSWORD"),
            ("API_RATE", "API_RATE_PER_MINUTE"),
            ("REDIS_URI", "REDIS_URL"),
            ("TRUSTED_PROXY", "TRUSTED_PROXIES"),
            ("SMTP_ADDRESS", "SMTP_ADDR"),
            ("HTTP_ADDRESS", "HTTP_ADDR"),
            ("REDIS_ADDRESS", "REDIS_ADDR"),
            ("RESTANTE_KEY", "RESTANTE_API_KEY"),
        ] {
            assert_eq!(meant_by(name).map(|meant| meant.name), Some(meant), "{name}");
        }
        let others = [
            "",
            "PATH",
            "HOME",
            "HTTPS_PORT",
            "SSL_CERT_FILE",
            "SSL_CERT_DIR",
            "HTTP_PROXY",
            "https_proxy",
            "SMTP_HOST",
            "SMTP_PORT",
            "SMTP_PORT_25_TCP",
            "SMTP_USER",
            "REDIS_HOST",
            "REDIS_PORT",
            "DOMAIN_NAME",
            "LOG_DIR",
            "SHELL",
            "RESTANTE_PORT",
            "RESTANTE_SMTP",
            "APP_NAME",
            "APP_KEY",
            "HTTP_HOST",
            "DATABASE_URL",
            "STORE_MAX_BYTES",
        ];
        for name in others {
            assert_eq!(meant_by(name).map(|meant| meant.name), None, "{name}");
        }
    }
}
