//! What one rendition's two lanes tell each other: the reload lane fills the window with what the playlist lists, the
//! media lane takes out what to fetch next. Bounded: a viewer that cannot keep up skips to newer pieces.

use std::cell::RefCell;
use std::collections::VecDeque;

use tokio::sync::Notify;

use crate::playlist::{Piece, Snapshot};

/// The pieces listed and not yet fetched, and the hint.
pub(crate) struct Window {
    state: RefCell<State>,
    changed: Notify,
    hints: bool,
}

/// What the media lane does next.
#[derive(Debug, PartialEq)]
pub(crate) enum Next {
    /// Fetch this init section, unless it is the one in use.
    Init(String),
    /// Fetch a piece that existed when the viewer joined.
    Backlog(Piece),
    /// Fetch a piece that is new.
    Piece(Piece),
    /// Ask for a part that does not exist yet.
    Hint(String),
    /// A part that came by its hint, at this time, is listed now.
    Had(Piece, f64),
    /// So many pieces were given up.
    Skipped(u64),
    /// Nothing more will come.
    Ended,
}

#[derive(Default)]
struct State {
    init: Option<String>,
    queue: VecDeque<Next>,
    hint: Option<String>,
    had: Option<(String, f64)>,
    skipped: u64,
    ended: bool,
}

impl Window {
    /// Empty. `hints`: hand out hinted parts.
    pub(crate) fn new(hints: bool) -> Window {
        Window { state: RefCell::default(), changed: Notify::new(), hints }
    }

    /// Takes in a playlist; at `joining`, from where a player starts.
    pub(crate) fn fill(&self, snapshot: &Snapshot, parts: bool, joining: bool) {
        let mut state = self.state.borrow_mut();
        if snapshot.init.is_some() {
            state.init.clone_from(&snapshot.init);
        }
        let from = if joining { snapshot.start(parts).unwrap_or(0) } else { 0 };
        if joining {
            state.queue.clear();
        }
        for piece in snapshot.pieces.iter().skip(from).filter(|piece| piece.whole != parts) {
            let next = if joining { Next::Backlog(piece.clone()) } else { Next::Piece(piece.clone()) };
            state.queue.push_back(next);
            if state.queue.len() > LONGEST {
                state.queue.pop_front();
                state.skipped += 1;
            }
        }
        state.hint.clone_from(&snapshot.hint);
        drop(state);
        self.changed.notify_one();
    }

    /// The playlist has its end.
    pub(crate) fn end(&self) {
        self.state.borrow_mut().ended = true;
        self.changed.notify_one();
    }

    /// The hinted part came, at this time in seconds since 1970.
    pub(crate) fn hinted(&self, uri: String, at: f64) {
        self.state.borrow_mut().had = Some((uri, at));
    }

    /// Waits for something to do.
    pub(crate) async fn next(&self) -> Next {
        loop {
            if let Some(next) = self.take() {
                return next;
            }
            self.changed.notified().await;
        }
    }

    fn take(&self) -> Option<Next> {
        let mut state = self.state.borrow_mut();
        if let Some(init) = state.init.take() {
            return Some(Next::Init(init));
        }
        if state.skipped > 0 {
            return Some(Next::Skipped(std::mem::take(&mut state.skipped)));
        }
        if let Some(next) = state.queue.pop_front() {
            return Some(match (next, state.had.take()) {
                (Next::Piece(piece), Some((uri, at))) if piece.uri == uri => Next::Had(piece, at),
                (next, had) => {
                    state.had = had;
                    next
                }
            });
        }
        if state.ended {
            return Some(Next::Ended);
        }
        let fresh = state.had.as_ref().map(|(uri, _)| uri) != state.hint.as_ref();
        state.hint.take_if(|_| self.hints && fresh).map(Next::Hint)
    }
}

/// Pieces a viewer may be behind: minutes of parts.
const LONGEST: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playlist::Position;

    fn snapshot(uris: &[&str], hint: Option<&str>) -> Snapshot {
        let piece = |uri: &&str| Piece {
            at: Position::default(),
            uri: (*uri).to_owned(),
            duration: 1.0,
            independent: true,
            whole: false,
            starts_at: None,
        };
        Snapshot { pieces: uris.iter().map(piece).collect(), hint: hint.map(str::to_owned), ..Snapshot::default() }
    }

    fn uri(next: Option<Next>) -> String {
        match next {
            Some(Next::Backlog(p)) => format!("backlog {}", p.uri),
            Some(Next::Piece(p)) => format!("piece {}", p.uri),
            Some(Next::Had(p, _)) => format!("had {}", p.uri),
            Some(Next::Hint(uri)) => format!("hint {uri}"),
            Some(Next::Init(uri)) => format!("init {uri}"),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_hinted_part_is_fetched_once() {
        let window = Window::new(true);
        window.fill(&Snapshot { init: Some("i".into()), ..snapshot(&["1"], Some("2")) }, true, true);
        assert_eq!(uri(window.take()), "init i");
        assert_eq!(uri(window.take()), "backlog 1");
        assert_eq!(uri(window.take()), "hint 2");
        assert_eq!(window.take(), None);
        window.hinted("2".into(), 5.0);
        window.fill(&snapshot(&["2", "3"], Some("4")), true, false);
        assert_eq!(uri(window.take()), "had 2");
        assert_eq!(uri(window.take()), "piece 3");
        assert_eq!(uri(window.take()), "hint 4");
        window.end();
        assert_eq!(window.take(), Some(Next::Ended));
    }

    #[test]
    fn a_hint_that_failed_is_fetched_when_listed() {
        let window = Window::new(true);
        window.fill(&snapshot(&[], Some("2")), true, false);
        assert_eq!(uri(window.take()), "hint 2");
        window.fill(&snapshot(&["2"], None), true, false);
        assert_eq!(uri(window.take()), "piece 2");
    }

    #[test]
    fn a_hint_that_was_answered_is_not_asked_again() {
        let window = Window::new(true);
        window.fill(&snapshot(&[], Some("2")), true, false);
        assert_eq!(uri(window.take()), "hint 2");
        window.hinted("2".into(), 5.0);
        window.fill(&snapshot(&[], Some("2")), true, false);
        assert_eq!(window.take(), None);
    }

    #[test]
    fn without_hints_only_what_is_listed_is_fetched() {
        let window = Window::new(false);
        window.fill(&snapshot(&["1"], Some("2")), true, false);
        assert_eq!(uri(window.take()), "piece 1");
        assert_eq!(window.take(), None);
    }

    #[test]
    fn one_that_is_far_behind_skips() {
        let window = Window::new(false);
        let many: Vec<String> = (0..LONGEST + 3).map(|n| n.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        window.fill(&snapshot(&many, None), true, false);
        assert_eq!(window.take(), Some(Next::Skipped(3)));
        assert_eq!(uri(window.take()), "piece 3");
    }
}
