use super::*;

#[test]
fn content_is_read_back() {
    let content = Content { automatic: true, kind: KIND_BYTES, reply_to: None, body: vec![1, 2] };
    assert_eq!(content.encode(), [1, 1, 1, 1, 2]);
    assert_eq!(Content::decode(&content.encode()), Ok(content));
    assert_eq!(Content::decode(&Content::text("hi").encode()), Ok(Content::text("hi")));
}

#[test]
fn what_a_newer_node_says_is_refused_not_misread() {
    assert_eq!(Content::decode(&[1, 0]), Err(ContentError::Short));
    assert_eq!(Content::decode(&[2, 0, 0]), Err(ContentError::Version(2)));
    assert_eq!(Content::decode(&[1, 4, 0]), Err(ContentError::Flags(4)));
}

#[test]
fn an_answer_names_the_message_that_it_answers() {
    let answer = Content { reply_to: Some(MessageId([7; 32])), ..Content::text("yes") };
    let bytes = answer.encode();
    assert_eq!(bytes[..3], [1, 2, 0]);
    assert_eq!(bytes[3..35], [7; 32]);
    assert_eq!(Content::decode(&bytes), Ok(answer));
    for len in 3..35 {
        assert_eq!(Content::decode(&bytes[..len]), Err(ContentError::Short));
    }
}
