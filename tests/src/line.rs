//! Three nodes A–B–C in a line: A and C both dial B and know no way to each other.

use crate::{Lab, Outcome, Plan, TestNode};

/// The port of the nodes in a lab, where each has addresses of its own.
pub const LAB_PORT: u16 = 7000;

/// Three running nodes.
#[derive(Debug)]
pub struct Line {
    /// Dials B.
    pub a: TestNode,
    /// The relay in the middle.
    pub b: TestNode,
    /// Dials B.
    pub c: TestNode,
}

impl Line {
    /// Three nodes on the loopback interface. `shape` may add to the plan of each.
    pub fn shaped(shape: impl Fn(Plan) -> Plan) -> Outcome<Self> {
        let b = shape(TestNode::plan("b")).start()?;
        let a = shape(TestNode::plan("a").peer(b.address())).start()?;
        let c = shape(TestNode::plan("c").peer(b.address())).start()?;
        Self { a, b, c }.linked()
    }

    /// Three plain nodes on the loopback interface.
    pub fn start() -> Outcome<Self> {
        Self::shaped(|plan| plan)
    }

    /// Three nodes in three network namespaces, where A and C can't reach each other.
    pub fn in_lab(lab: &Lab) -> Outcome<Self> {
        let node = |name: &str, place| {
            TestNode::plan(name).namespace(lab.namespace(place)).listen(format!("0.0.0.0:{LAB_PORT}"))
        };
        let b = node("b", 1).start()?;
        let a = node("a", 0).peer(format!("{}:{LAB_PORT}", Lab::address(1, false))).start()?;
        let c = node("c", 2).peer(format!("{}:{LAB_PORT}", Lab::address(1, true))).start()?;
        Self { a, b, c }.linked()
    }

    /// Waits until A and C have ways to each other. A node that joins older ones chooses none in its first 3 s; until then
    /// copies are sent, and kept.
    pub fn wait_ways(&self) -> Outcome {
        self.a.wait_way(&self.c)?;
        self.c.wait_way(&self.a)
    }

    fn linked(self) -> Outcome<Self> {
        self.b.wait_links(2)?;
        self.a.wait_links(1)?;
        self.c.wait_links(1)?;
        Ok(self)
    }
}
