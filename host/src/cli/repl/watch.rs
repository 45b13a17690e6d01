//! Messages that come while somebody sits at the prompt.

use std::sync::Arc;
use std::time::Duration;

use rustyline::ExternalPrinter;

use crate::api::{ApiError, InboxPage, InboxQuery, NodeApi};
use crate::cli::commands::message_text;
use crate::cli::term::{Style, now_ms};

/// The name under which the prompt notes how far it has shown the inbox.
const READER: &str = "repl";

/// Messages shown at first that came while nobody was at the prompt.
const MISSED: usize = 20;

/// How long one question for messages waits in the node, in milliseconds.
const WAIT_MS: u64 = 20_000;

/// Between two questions: what comes together is shown together.
const BREATH: Duration = Duration::from_millis(20);

/// Between two attempts when the node doesn't answer.
const PAUSE: Duration = Duration::from_secs(2);

/// Prints messages as they come, above the line that is being typed. Ends with the process.
pub(super) fn start(node: Arc<dyn NodeApi>, style: Style, printer: impl ExternalPrinter + Send + 'static) {
    let watch = Watch { node, style, printer };
    let run = move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(watch.run());
    };
    // Without this thread the prompt works all the same, and `mesh inbox` shows what came.
    let _ = std::thread::Builder::new().name("qpq-watch".into()).spawn(run);
}

struct Watch<P> {
    node: Arc<dyn NodeApi>,
    style: Style,
    printer: P,
}

impl<P: ExternalPrinter> Watch<P> {
    async fn run(mut self) {
        let missed =
            InboxQuery { reader: Some(READER.to_owned()), limit: MISSED, newest: true, ..InboxQuery::default() };
        let mut query = missed.clone();
        loop {
            match self.step(query).await {
                Ok(after) => {
                    tokio::time::sleep(BREATH).await;
                    query = InboxQuery { after: Some(after), wait_ms: WAIT_MS, ..InboxQuery::default() };
                }
                Err(error) if error.code == "disconnected" => return,
                Err(_) => {
                    tokio::time::sleep(PAUSE).await;
                    query = missed.clone();
                }
            }
        }
    }

    /// Shows what there is, notes that it was shown, and says where to go on.
    async fn step(&mut self, query: InboxQuery) -> Result<u64, ApiError> {
        let page = self.node.inbox(query).await?;
        self.show(&page);
        if let Some(last) = page.items.last() {
            self.node.inbox_ack(READER.to_owned(), last.seq).await?;
        }
        Ok(page.next_after)
    }

    fn show(&mut self, page: &InboxPage) {
        for item in page.items.iter().filter(|item| !item.own) {
            let text = message_text(item, now_ms(), self.style);
            let _ = self.printer.print(format!("{text}\n"));
        }
    }
}
