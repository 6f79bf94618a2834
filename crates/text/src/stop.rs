//! Stop strings, which may span tokens and are never shown, not even in part.

/// What [`StopStrings::feed`] gives back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fed {
    /// Text that is safe to show.
    pub text: String,
    /// Index of the stop string that ended it.
    pub stop: Option<usize>,
}

/// Looks for stop strings in a growing text.
#[derive(Clone, Debug, Default)]
pub struct StopStrings {
    stops: Vec<String>,
    held: String,
}

impl StopStrings {
    /// A matcher of these strings; empty ones never match.
    pub fn new(stops: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { stops: stops.into_iter().map(Into::into).collect(), held: String::new() }
    }

    /// Takes more text. The stop string that begins first wins, among those the one given first; what follows it is
    /// dropped. Held back is the longest end of the text that could begin a stop string.
    pub fn feed(&mut self, text: &str) -> Fed {
        self.held.push_str(text);
        let stops = self.stops.iter().enumerate().filter(|(_, stop)| !stop.is_empty());
        let found = stops.filter_map(|(index, stop)| Some((self.held.find(stop.as_str())?, index))).min();
        match found {
            // An earlier, longer stop string may still be on its way.
            Some((at, _)) if self.begins_before(at) => self.release(self.held_from()),
            Some((at, stop)) => {
                let mut text = std::mem::take(&mut self.held);
                text.truncate(at);
                Fed { text, stop: Some(stop) }
            }
            None => self.release(self.held_from()),
        }
    }

    /// The end of the text: gives what was held back.
    pub fn finish(&mut self) -> Fed {
        let held = std::mem::take(&mut self.held);
        let stops = self.stops.iter().enumerate().filter(|(_, stop)| !stop.is_empty());
        match stops.filter_map(|(index, stop)| Some((held.find(stop.as_str())?, index))).min() {
            Some((at, stop)) => Fed { text: held[..at].to_owned(), stop: Some(stop) },
            None => Fed { text: held, stop: None },
        }
    }

    fn release(&mut self, until: usize) -> Fed {
        Fed { text: self.held.drain(..until).collect(), stop: None }
    }

    /// Where the longest end begins that is the beginning of a stop string.
    fn held_from(&self) -> usize {
        let open = |(at, _): &(usize, char)| self.stops.iter().any(|stop| stop.starts_with(&self.held[*at..]));
        self.held.char_indices().find(open).map_or(self.held.len(), |(at, _)| at)
    }

    fn begins_before(&self, at: usize) -> bool {
        self.held_from() < at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(stops: &[&str], pieces: &[&str]) -> (Vec<String>, Option<usize>, String) {
        let mut matcher = StopStrings::new(stops.iter().copied());
        let mut out = Vec::new();
        for piece in pieces {
            let Fed { text, stop } = matcher.feed(piece);
            out.push(text);
            if stop.is_some() {
                return (out, stop, String::new());
            }
        }
        let rest = matcher.finish();
        (out, rest.stop, rest.text)
    }

    #[test]
    fn stops() {
        type Case<'a> = (&'a [&'a str], &'a [&'a str], &'a [&'a str], Option<usize>, &'a str);
        let cases: [Case<'_>; 11] = [
            (&[], &["a", "b"], &["a", "b"], None, ""),
            (&[""], &["a"], &["a"], None, ""),
            (&["END"], &["one E", "N", "D two"], &["one ", "", ""], Some(0), ""),
            (&["END"], &["one E", "N", "d"], &["one ", "", "ENd"], None, ""),
            (&["END"], &["one EN"], &["one "], None, "EN"),
            (&["b", "ab"], &["xab"], &["x"], Some(1), ""),
            (&["ab", "a"], &["xab"], &["x"], Some(0), ""),
            (&["aab"], &["aaab"], &["a"], Some(0), ""),
            (&["aab"], &["a", "a", "a", "b"], &["", "", "a", ""], Some(0), ""),
            (&["bc", "abcd"], &["abc", "x"], &["", "a"], Some(0), ""),
            (&["é!"], &["caf", "é", "!"], &["caf", "", ""], Some(0), ""),
        ];
        for (stops, pieces, texts, stop, rest) in cases {
            let expected = (texts.iter().map(|&text| text.to_owned()).collect(), stop, rest.to_owned());
            assert_eq!(run(stops, pieces), expected, "{stops:?} {pieces:?}");
        }
    }

    #[test]
    fn any_cut_gives_the_same_answer() {
        let text = "the answer is 42.\n\nUser: next";
        let stops = ["\n\nUser:", "\nUser", "43"];
        for size in 1..=text.len() {
            let pieces: Vec<&str> =
                text.as_bytes().chunks(size).map(|piece| std::str::from_utf8(piece).unwrap()).collect();
            let (out, stop, rest) = run(&stops, &pieces);
            assert_eq!((out.concat().as_str(), stop, rest.as_str()), ("the answer is 42.", Some(0), ""), "{size}");
        }
    }
}
