//! What the commands need that ask a running server.

use std::fs;
use std::path::PathBuf;

use reqwest::Url;

use super::reader::Reader;
use super::source::Variables;
use super::{Mistakes, value};
use crate::http::ApiKey;

/// What is read of the variables here.
const NAMES: [&str; 4] = ["RESTANTE_URL", "RESTANTE_API_KEY", "API_KEY", "DATA_DIR"];

/// The file in the data directory that holds a generated key.
pub const KEY_FILE: &str = "api-key";

/// How a running server is reached. Nothing else of the configuration is looked at: these commands run where tests do, beside
/// the variables of other programs.
#[derive(Clone)]
pub struct Client {
    /// Where its API is.
    pub url: String,
    key: Option<String>,
    data_dir: PathBuf,
}

impl Client {
    /// What was given, and what is not is read of the environment and the file `.env` of the working directory, the environment
    /// first. Nothing is looked at where all is given: the directory may be that of any project.
    ///
    /// # Errors
    /// All mistakes in what was given, or in these variables.
    pub fn load(url: Option<&str>, key: Option<&str>) -> Result<Self, Mistakes> {
        let url_given = url.map(|text| self::url(text).map_err(|error| format!("--url {text:?}: {error}"))).transpose();
        let key_given = key.map(|text| self::key(text).map_err(|error| format!("--key: {error}"))).transpose();
        match (url_given, key_given) {
            (Ok(Some(url)), Ok(Some(key))) => Ok(Self { url, key: Some(key), data_dir: PathBuf::new() }),
            (Ok(url), Ok(key)) => {
                let read = Self::from_variables(&Variables::of_process(|name| NAMES.contains(&name)))?;
                Ok(Self { url: url.unwrap_or(read.url), key: key.or(read.key), data_dir: read.data_dir })
            }
            (url, key) => Err(Mistakes(url.err().into_iter().chain(key.err()).collect())),
        }
    }

    fn from_variables(variables: &Variables) -> Result<Self, Mistakes> {
        let mut reader = Reader::new(variables);
        let client = Self::read(&mut reader);
        reader.mistakes().map(|()| client).map_err(Mistakes)
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let own = reader.read("RESTANTE_API_KEY", value::optional(key));
        let of_server = reader.read("API_KEY", |text| Ok(value::list(text).next().map(str::to_owned)));
        Self {
            url: reader.read("RESTANTE_URL", url),
            key: own.or(of_server),
            data_dir: reader.read("DATA_DIR", value::path),
        }
    }

    /// The key: the one that is set, or the one that the server has generated.
    ///
    /// # Errors
    /// There is none; the text says what to do.
    pub fn key(&self) -> Result<String, String> {
        if let Some(key) = &self.key {
            return Ok(key.clone());
        }
        let file = self.data_dir.join(KEY_FILE);
        let text = fs::read_to_string(&file).map_err(|error| error.to_string());
        text.and_then(|text| key(text.trim()))
            .map_err(|error| format!("no API key: set RESTANTE_API_KEY, or give --key ({}: {error})", file.display()))
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
        Client::from_variables(&Variables::from(&variables)).map_err(|mistakes| mistakes.to_string())?.key()
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
