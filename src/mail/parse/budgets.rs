//! How much of a message is read. What lies beyond is kept in the raw bytes alone, and named in `problems`.

/// The limits of reading one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budgets {
    /// Parts. It protects the record: each attachment costs a place in it, and a delimiter line costs a sender five bytes.
    pub max_parts: usize,
    /// Multiparts within each other. It protects the time: each line that may be a delimiter is compared with the
    /// boundaries of all open ones.
    pub max_depth: usize,
    /// Bytes of the header of the message and of each part. It protects the memory: each address and each field of the
    /// record costs many times its bytes in the message.
    pub max_header_bytes: usize,
    /// Fields of each header. It protects the memory in the same way.
    pub max_headers: usize,
    /// Encoded words of all headers together. It protects the time: each one is decoded by itself.
    pub max_encoded_words: usize,
    /// Bytes of the decoded texts together. It protects the store and the readers of lists: UTF-8 may be three times as
    /// long as what was sent.
    pub max_text_bytes: usize,
}

impl Budgets {
    /// How much of a message [`front_fields`](super::front_fields) wants to see: a header of the largest size, and the
    /// beginning of the body.
    #[must_use]
    pub const fn front_bytes(&self) -> usize {
        self.max_header_bytes.saturating_add(2 * super::SAMPLE_MAX_BYTES)
    }
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            max_parts: 1_000,
            max_depth: 64,
            max_header_bytes: 256 * 1024,
            max_headers: 2_000,
            max_encoded_words: 10_000,
            max_text_bytes: 64 * 1024 * 1024,
        }
    }
}
