//! Questions to people that wait for an answer (`msg:ask`).

use qpq_schemas::{MessageId, PeerId};
use tokio::sync::oneshot;

use crate::api::InboxItem;

/// The questions of one machine.
#[derive(Debug, Default)]
pub(crate) struct Asked(Vec<Question>);

#[derive(Debug)]
struct Question {
    id: MessageId,
    to: PeerId,
    topic: Option<String>,
    answer: oneshot::Sender<InboxItem>,
}

impl Asked {
    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.0.iter().filter(|question| !question.answer.is_closed()).count()
    }

    /// Waits for the answer of that person in that place.
    pub(crate) fn add(&mut self, id: MessageId, to: PeerId, topic: Option<String>) -> oneshot::Receiver<InboxItem> {
        self.0.retain(|question| !question.answer.is_closed());
        let (answer, receiver) = oneshot::channel();
        self.0.push(Question { id, to, topic, answer });
        receiver
    }

    /// Hands a message to the question that it answers, if there is one: the one that it names, else the last one to that
    /// person in that place. Commands and programs answer nothing.
    pub(crate) fn take(&mut self, item: &InboxItem) -> bool {
        self.0.retain(|question| !question.answer.is_closed());
        if item.automatic || item.reaction {
            return false;
        }
        let meant = |question: &Question| question.to == item.from && question.topic == item.topic;
        let place = match item.reply_to {
            Some(id) => self.0.iter().position(|question| question.id == id && meant(question)),
            None if item.payload.first() == Some(&b'!') => None,
            None => self.0.iter().rposition(meant),
        };
        let Some(place) = place else { return false };
        self.0.remove(place).answer.send(item.clone()).is_ok()
    }

    /// Nobody answers any more.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::super::double::message;
    use super::*;

    #[test]
    fn an_answer_finds_its_question_and_nobody_elses() {
        let (anna, bob) = (PeerId([1; 32]), PeerId([2; 32]));
        let mut asked = Asked::default();
        let mut first = asked.add(MessageId([1; 32]), anna, None);
        let mut second = asked.add(MessageId([2; 32]), anna, None);
        let mut on_board = asked.add(MessageId([3; 32]), anna, Some("board".to_owned()));
        let text = |from, topic| InboxItem { payload: b"yes".to_vec(), ..message(from, topic) };
        assert!(!asked.take(&text(bob, None)));
        assert!(!asked.take(&InboxItem { automatic: true, ..text(anna, None) }));
        assert!(!asked.take(&InboxItem { payload: b"!list".to_vec(), ..text(anna, None) }));
        assert!(!asked.take(&InboxItem { reply_to: Some(MessageId([9; 32])), ..text(anna, None) }));
        assert!(asked.take(&InboxItem { reply_to: Some(MessageId([1; 32])), ..text(anna, None) }));
        assert!(first.try_recv().is_ok());
        assert!(asked.take(&text(anna, None)));
        assert!(second.try_recv().is_ok());
        assert!(!asked.take(&text(anna, None)));
        assert!(asked.take(&text(anna, Some("board"))));
        assert!(on_board.try_recv().is_ok());
        let gone = asked.add(MessageId([4; 32]), anna, None);
        drop(gone);
        assert!(!asked.take(&text(anna, None)) && asked.len() == 0);
    }
}
