//! The header of a message, for which the rest of it need not be read.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::turns::elsewhere;
use super::{INLINE_MAX_BYTES, Inbox};
use crate::mail::{self, HeaderField, MailboxName, MessageId};
use crate::store::{Raw, StoreError};

impl Inbox {
    /// All header fields of a message, in order; `None` if it is not there.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn header_fields(
        &self,
        mailbox: &MailboxName,
        id: MessageId,
    ) -> Result<Option<Vec<HeaderField>>, StoreError> {
        let Some(raw) = self.store.open_raw(mailbox, id).await? else { return Ok(None) };
        let budgets = self.settings.mime;
        if raw.len() <= INLINE_MAX_BYTES as u64 {
            return Ok(raw.into_bytes().await?.map(|raw| mail::header_fields(&raw, &budgets)));
        }
        // One mail may be waited for by a thousand. The semaphore is never closed.
        let turn = Arc::new(self.looking.clone().acquire_owned().await.ok());
        if raw.len() > budgets.front_bytes() as u64 {
            let Some(front) = raw.front(budgets.front_bytes()).await? else { return Ok(None) };
            let fields = reading(&turn, move || mail::front_fields(&front, &budgets)).await?;
            if fields.is_some() {
                return Ok(fields);
            }
        }
        self.of_whole(raw, &turn).await
    }

    /// The header may be longer than what is read of it; what lies behind the budgets is then looked through too.
    async fn of_whole(&self, raw: Raw, turn: &Turn) -> Result<Option<Vec<HeaderField>>, StoreError> {
        let budgets = self.settings.mime;
        let Some(raw) = raw.into_bytes().await? else { return Ok(None) };
        reading(turn, move || Some(mail::header_fields(&raw, &budgets))).await
    }
}

/// A turn, for as long as somebody waits for what is read or reads it.
type Turn = Arc<Option<OwnedSemaphorePermit>>;

/// Reads where it holds up nobody. Where the caller goes, the turn is not over before that.
async fn reading<T: Send + 'static>(turn: &Turn, read: impl FnOnce() -> T + Send + 'static) -> Result<T, StoreError> {
    let turn = turn.clone();
    elsewhere(move || {
        let _turn = turn;
        read()
    })
    .await
}
