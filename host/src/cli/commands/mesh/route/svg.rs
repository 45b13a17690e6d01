//! A picture of the routes as SVG, laid out here: rings around this node, and behind each neighbour what it leads to.

use std::collections::BTreeMap;
use std::f64::consts::TAU;
use std::fmt::Write as _;

use super::picture::Picture;

/// From one ring to the next, in pixels, at least.
const RING: f64 = 120.0;
/// Room for each node on a ring, in pixels.
const ROOM: f64 = 70.0;
/// Around everything, in pixels.
const MARGIN: f64 = 90.0;

const STYLE: &str = "text{font:11px sans-serif;text-anchor:middle;fill:#222}\
.link{stroke:#2a6;stroke-width:2}.way{stroke:#888;stroke-dasharray:5 4}\
.cost{font-size:9px;fill:#666}circle{fill:#fff;stroke:#2a6;stroke-width:2}.here{fill:#2a6}.lost{stroke:#c33;stroke-dasharray:2 2}";

/// The picture. Names are escaped; there is no script and no reference to anything outside in it.
pub(super) fn draw(picture: &Picture) -> String {
    let spots = places(picture);
    let reach = spots.iter().flat_map(|(x, y)| [x.abs(), y.abs()]).fold(RING, f64::max) + MARGIN;
    let side = 2.0 * reach;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"{:.0} {:.0} {side:.0} {side:.0}\" width=\"{side:.0}\" \
         height=\"{side:.0}\"><style>{STYLE}</style><title>{}</title>\n<rect x=\"{:.0}\" y=\"{:.0}\" width=\"{side:.0}\" \
         height=\"{side:.0}\" fill=\"#fff\"/>\n",
        -reach,
        -reach,
        escaped(&format!("Routes by {}", picture.plugin)),
        -reach,
        -reach,
    );
    for line in &picture.lines {
        let (Some((x1, y1)), Some((x2, y2))) = (spots.get(line.from), spots.get(line.to)) else { continue };
        let class = if line.direct { "link" } else { "way" };
        _ = writeln!(out, "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>");
        if let Some(cost) = line.cost {
            let (x, y) = ((x1 + x2) / 2.0, (y1 + y2) / 2.0 - 3.0);
            _ = writeln!(out, "<text class=\"cost\" x=\"{x:.1}\" y=\"{y:.1}\">{cost}</text>");
        }
    }
    for (number, (spot, (x, y))) in picture.spots.iter().zip(&spots).enumerate() {
        let class = match (number, spot.lost) {
            (0, _) => " class=\"here\"",
            (_, true) => " class=\"lost\"",
            _ => "",
        };
        let below = y + 22.0;
        let (key, label) = (spot.peer.to_string(), escaped(&spot.label));
        _ = writeln!(out, "<g><title>{key}</title><circle{class} cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"8\"/>");
        _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{below:.1}\">{label}</text></g>");
    }
    if picture.left_out > 0 {
        let at = reach - 12.0;
        _ = writeln!(out, "<text x=\"0\" y=\"{at:.0}\">and {} more</text>", picture.left_out);
    }
    out + "</svg>\n"
}

/// Where each node stands, this one at 0, 0. A neighbour gets a share of the circle by how many nodes stand behind it.
fn places(picture: &Picture) -> Vec<(f64, f64)> {
    let mut behind: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut placed = vec![false; picture.spots.len()];
    for line in picture.lines.iter().filter(|line| !line.direct) {
        if let Some(free) = placed.get_mut(line.to).filter(|placed| !**placed)
            && picture.spots.get(line.to).is_some_and(|spot| spot.ring > 1)
        {
            *free = true;
            behind.entry(line.from).or_default().push(line.to);
        }
    }
    // Whatever hangs on no line stands alone, as the neighbours do.
    let alone = |number: &usize| placed.get(*number).is_some_and(|placed| !placed);
    let groups: Vec<usize> = (1..picture.spots.len()).filter(alone).collect();
    let weight = |group: &usize| behind.get(group).map_or(1, |nodes| nodes.len().max(1)) as f64;
    let all: f64 = groups.iter().map(weight).sum();
    let radii = radii(picture, all);
    let mut places = vec![(0.0, 0.0); picture.spots.len()];
    let mut from = 0.0;
    for group in &groups {
        let share = TAU * weight(group) / all.max(1.0);
        set(&mut places, picture, &radii, *group, from + share / 2.0);
        let nodes = behind.get(group).map(Vec::as_slice).unwrap_or_default();
        for (turn, node) in nodes.iter().enumerate() {
            set(&mut places, picture, &radii, *node, from + share * (turn as f64 + 0.5) / nodes.len() as f64);
        }
        from += share;
    }
    places
}

/// The radius of each ring: room enough for all that may stand there, and more than the ring inside it.
fn radii(picture: &Picture, all: f64) -> Vec<f64> {
    let rings = picture.spots.iter().map(|spot| usize::from(spot.ring)).max().unwrap_or(1).max(2);
    let outer = (all * ROOM / TAU).max(2.0 * RING);
    (0..=rings)
        .map(|ring| ring as f64)
        .map(|ring| if ring < 1.5 { ring * outer / 2.0 } else { outer + (ring - 2.0) * RING / 2.0 })
        .collect()
}

fn set(places: &mut [(f64, f64)], picture: &Picture, radii: &[f64], node: usize, angle: f64) {
    let ring = picture.spots.get(node).map_or(0, |spot| usize::from(spot.ring));
    let radius = radii.get(ring).copied().unwrap_or(RING);
    if let Some(place) = places.get_mut(node) {
        *place = (radius * angle.cos(), radius * angle.sin());
    }
}

/// Text for XML: markup becomes entities.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'), // XML has no such characters
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use qpq_schemas::PeerId;

    use super::*;
    use crate::api::{RouteInfo, RouteTable};
    use crate::control::testing::route_table;

    #[test]
    fn names_can_not_bring_markup_into_the_picture() {
        let picture = draw(&Picture::of(&route_table()));
        assert!(picture.contains("anna&quot; -&gt; x; &lt;b&gt;&amp;"), "{picture}");
        assert!(!picture.contains("<b>") && !picture.contains('\u{1b}'));
        assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
        assert!(
            picture.contains("class=\"link\"")
                && picture.contains("class=\"way\"")
                && picture.contains("class=\"lost\"")
        );
    }

    #[test]
    fn nodes_of_a_large_table_stand_apart_and_the_number_is_bounded() {
        let peer = |n: u32| {
            let mut key = [0; 32];
            key[..4].copy_from_slice(&n.to_be_bytes());
            PeerId(key)
        };
        let route = |n: u32| RouteInfo {
            destination: peer(n),
            next_hop: peer(1 + n % 5),
            nickname: None,
            metric: n,
            hops: Some(2),
            age_ms: 0,
            next_hop_name: None,
            link: None,
            seqno: None,
            feasibility: None,
            alternatives: Vec::new(),
        };
        let table = |count: u32| RouteTable { routes: (1..=count).map(route).collect(), ..RouteTable::default() };
        let places = places(&Picture::of(&table(300)));
        for (at, (x, y)) in places.iter().enumerate() {
            let near = |(other_x, other_y): &(f64, f64)| (x - other_x).hypot(y - other_y) < 20.0;
            assert!(!places[at + 1..].iter().any(near), "{at}");
        }
        let large = Picture::of(&table(5_000));
        assert!(large.spots.len() <= super::super::picture::MAX_NODES && large.left_out > 2_900);
        assert!(draw(&large).contains("more</text>"));
    }
}
