//! What the commands need that ask a running server.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

use super::reader::Reader;
use super::{Mistakes, path, value, variables_of_process};
use crate::http::ApiKey;

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
    /// Reads the environment and the file `.env` of the working directory; the environment goes before the file.
    ///
    /// # Errors
    /// All mistakes in these variables, and in the file.
    pub fn load() -> Result<Self, Mistakes> {
        Self::from_variables(&variables_of_process()?)
    }

    fn from_variables(variables: &HashMap<String, String>) -> Result<Self, Mistakes> {
        let mut reader = Reader::new(variables);
        let client = Self::read(&mut reader);
        reader.mistakes().map(|()| client).map_err(Mistakes)
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let own = reader.read("RESTANTE_API_KEY", key);
        let of_server = reader.read("API_KEY", |text| Ok(value::list(text).next().map(str::to_owned)));
        Self { url: reader.read("RESTANTE_URL", url), key: own.or(of_server), data_dir: reader.read("DATA_DIR", path) }
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
        let key = fs::read_to_string(&file).map_err(|error| {
            format!("no API key: set RESTANTE_API_KEY, or give --key ({}: {error})", file.display())
        })?;
        Ok(key.trim().to_owned())
    }
}

fn key(text: &str) -> value::Parsed<Option<String>> {
    match text.parse::<ApiKey>() {
        _ if text.is_empty() => Ok(None),
        Ok(_) => Ok(Some(text.to_owned())),
        Err(error) => Err(error.to_string()),
    }
}

fn url(text: &str) -> value::Parsed<String> {
    let is_url =
        ["http://", "https://"].iter().any(|scheme| text.strip_prefix(scheme).is_some_and(|at| !at.is_empty()));
    if is_url && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err("write a URL, such as http://127.0.0.1:8080 or https://mx.example.com".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(variables: &[(&str, &str)]) -> Result<String, String> {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Client::from_variables(&variables).map_err(|mistakes| mistakes.to_string())?.key()
    }

    #[test]
    fn the_key_is_the_nearest_that_is_set() {
        let dir = tempfile::tempdir().unwrap();
        let data = ("DATA_DIR", dir.path().to_str().unwrap());
        assert!(key(&[data]).unwrap_err().contains("RESTANTE_API_KEY"));
        fs::write(dir.path().join(KEY_FILE), "generated\n").unwrap();
        assert_eq!(key(&[data]).unwrap(), "generated");
        assert_eq!(key(&[data, ("API_KEY", "a, b")]).unwrap(), "a");
        assert_eq!(key(&[data, ("API_KEY", "a"), ("RESTANTE_API_KEY", "c")]).unwrap(), "c");
        let mistakes = key(&[("RESTANTE_API_KEY", "s3cret s3cret"), ("RESTANTE_URL", "mx.example.com")]).unwrap_err();
        assert!(mistakes.contains("RESTANTE_URL=\"mx.example.com\": write a URL"), "{mistakes}");
        assert!(mistakes.contains("RESTANTE_API_KEY=(hidden)") && !mistakes.contains("s3cret"), "{mistakes}");
    }
}
