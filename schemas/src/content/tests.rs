use super::*;

#[test]
fn content_is_read_back() {
    let content = Content { automatic: true, kind: KIND_BYTES, body: vec![1, 2] };
    assert_eq!(content.encode(), [1, 1, 1, 1, 2]);
    assert_eq!(Content::decode(&content.encode()), Ok(content));
    assert_eq!(Content::decode(&Content::text("hi").encode()), Ok(Content::text("hi")));
}

#[test]
fn what_a_newer_node_says_is_refused_not_misread() {
    assert_eq!(Content::decode(&[1, 0]), Err(ContentError::Short));
    assert_eq!(Content::decode(&[2, 0, 0]), Err(ContentError::Version(2)));
    assert_eq!(Content::decode(&[1, 2, 0]), Err(ContentError::Flags(2)));
}
