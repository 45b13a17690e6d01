//! Messages and receipts that come while somebody sits at the prompt.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustyline::ExternalPrinter;

use crate::api::{ApiError, Delivery, DeliveryQuery, InboxPage, InboxQuery, NodeApi};
use crate::cli::commands::{delivery_text, message_text};
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
///
/// While `quiet` is set, messages only count as shown: a command shows them itself.
pub(super) fn start(
    node: Arc<dyn NodeApi>,
    style: Style,
    quiet: Arc<AtomicBool>,
    printer: impl ExternalPrinter + Send + 'static,
) {
    let watch = Watch { node, style, quiet, printer: RefCell::new(printer) };
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
    quiet: Arc<AtomicBool>,
    printer: RefCell<P>,
}

impl<P: ExternalPrinter> Watch<P> {
    async fn run(self) {
        tokio::join!(self.messages(), self.receipts());
    }

    /// Shows receipts from now on: the node forgets those before with its start, and nobody waits for them here.
    async fn receipts(&self) {
        let mut query = DeliveryQuery::default();
        loop {
            match self.node.deliveries(query).await {
                Ok(page) => {
                    page.items.iter().for_each(|delivery| self.show_delivery(delivery));
                    tokio::time::sleep(BREATH).await;
                    query = DeliveryQuery { after: Some(page.next_after), wait_ms: WAIT_MS };
                }
                Err(error) if error.code == "disconnected" || error.code == "unimplemented" => return,
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    fn show_delivery(&self, delivery: &Delivery) {
        self.print(&delivery_text(delivery, self.style));
    }

    fn print(&self, text: &str) {
        let _ = self.printer.borrow_mut().print(format!("{text}\n"));
    }

    async fn messages(&self) {
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
    async fn step(&self, query: InboxQuery) -> Result<u64, ApiError> {
        let page = self.node.inbox(query).await?;
        self.show(&page);
        if let Some(last) = page.items.last() {
            self.node.inbox_ack(READER.to_owned(), last.seq).await?;
        }
        Ok(page.next_after)
    }

    fn show(&self, page: &InboxPage) {
        if self.quiet.load(Ordering::SeqCst) {
            return;
        }
        // What its user has typed stands here already; what the node's own bots say doesn't.
        for item in page.items.iter().filter(|item| !item.own || item.automatic) {
            self.print(&message_text(item, now_ms(), self.style));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::InboxItem;
    use crate::control::testing::{Double, item};

    /// Keeps what is printed.
    #[derive(Default)]
    struct Lines(String);

    impl ExternalPrinter for Lines {
        fn print(&mut self, text: String) -> rustyline::Result<()> {
            self.0 += &text;
            Ok(())
        }
    }

    #[test]
    fn what_the_nodes_own_bots_say_to_its_user_is_shown_and_what_he_typed_is_not() {
        let (node, quiet, printer) = (Arc::<Double>::default(), Arc::default(), RefCell::<Lines>::default());
        let watch = Watch { node, style: Style::PLAIN, quiet, printer };
        let said = |text: &str, own, automatic| InboxItem { payload: text.into(), own, automatic, ..item(1) };
        let items = vec![said("typed", true, false), said("of a bot", true, true), said("of anna", false, false)];
        watch.show(&InboxPage { items, next_after: 1 });
        let shown = watch.printer.take().0;
        assert!(shown.contains("of a bot") && shown.contains("of anna") && !shown.contains("typed"), "{shown}");
    }
}
