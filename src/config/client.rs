//! What the commands need that ask a running server.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

use super::reader::Reader;
use super::{Mistakes, path, value, variables_of_process};

/// The file in the data directory that holds a generated key.
pub const KEY_FILE: &str = "api-key";

/// How a running server is reached. Nothing else of the configuration is looked at: these commands run where tests do, beside
/// the variables of other programs.
#[derive(Clone, Debug)]
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
    /// What is wrong with the file.
    pub fn load() -> Result<Self, Mistakes> {
        Ok(Self::from_variables(&variables_of_process()?))
    }

    fn from_variables(variables: &HashMap<String, String>) -> Self {
        let mut reader = Reader::new(variables);
        let own = reader.read("RESTANTE_API_KEY", first);
        let of_server = reader.read("API_KEY", first);
        Self {
            url: reader.read("RESTANTE_URL", |text| Ok(text.to_owned())),
            key: own.or(of_server),
            data_dir: reader.read("DATA_DIR", path),
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
        let key = fs::read_to_string(&file).map_err(|error| {
            format!("no API key: set RESTANTE_API_KEY, or give --key ({}: {error})", file.display())
        })?;
        Ok(key.trim().to_owned())
    }
}

fn first(text: &str) -> value::Parsed<Option<String>> {
    Ok(value::list(text).next().map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(variables: &[(&str, &str)]) -> Result<String, String> {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Client::from_variables(&variables).key()
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
    }
}
