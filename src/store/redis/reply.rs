//! The answers of Redis as what they are expected to be.

use bytes::Bytes;
use fred::types::Value;

use crate::store::StoreError;

/// An array.
pub(super) fn array(value: Value) -> Result<Vec<Value>, StoreError> {
    match value {
        Value::Array(values) => Ok(values),
        Value::Null => Ok(Vec::new()),
        other => Err(unexpected(&other)),
    }
}

/// An array of texts.
pub(super) fn texts(value: Value) -> Result<Vec<String>, StoreError> {
    array(value)?.into_iter().map(|value| value.into_string().ok_or_else(|| unexpected(&Value::Null))).collect()
}

/// An array of bytes.
pub(super) fn bytes(value: Value) -> Result<Vec<Bytes>, StoreError> {
    array(value)?.into_iter().map(|value| value.into_bytes().ok_or_else(|| unexpected(&Value::Null))).collect()
}

/// A field of what `INFO` or `CLUSTER INFO` says.
pub(super) fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// A number of things.
pub(super) fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn unexpected(value: &Value) -> StoreError {
    StoreError::Damaged(format!("Redis answered with {:?}, which means nothing here", value.kind()))
}
