//! What attention has to do in a step, as a list that its kernels walk.

use plimsoll_backend::Plan;
use plimsoll_model::{Decoder, Gqa, Mixer, Span};

use crate::params::SPLIT;

/// Tokens of a sequence up to which its rows are taken one by one, a split at a time.
const DECODED: usize = 8;
/// Rows of a tile at most.
pub(crate) const TILE: usize = 64;

/// The work of layers that see so many positions. Whether a row is in a tile does not change what comes out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Work {
    /// Row and split of an item, those of a row side by side and ascending; behind them first row and number of rows of a tile.
    pub(crate) list: Vec<[u32; 2]>,
    /// Where in the list what a launch takes begins, of whole rows each; where tiles begin; where they end.
    pub(crate) bounds: Vec<u32>,
}

/// The number of positions that a token sees, 0 for all.
pub(crate) fn window(gqa: &Gqa) -> usize {
    match gqa.span {
        Span::Window(window) => window,
        Span::Full => 0,
    }
}

/// Those of a model's layers, each once.
pub(crate) fn windows(decoder: &Decoder) -> Vec<usize> {
    let window = |layer: &plimsoll_model::Layer| {
        let Mixer::Gqa(gqa) = &layer.mixer;
        window(gqa)
    };
    let mut windows: Vec<usize> = decoder.layers.iter().map(window).collect();
    windows.sort_unstable();
    windows.dedup();
    windows
}

/// Splits that a token sees at most.
fn most(window: usize, context: usize) -> usize {
    let all = context.div_ceil(SPLIT);
    if window == 0 { all } else { all.min((window - 1).div_ceil(SPLIT) + 1) }
}

/// Words of the bounds and of the list, for so many rows at most.
pub(crate) fn room(window: usize, context: usize, rows: usize) -> (usize, usize) {
    // Every row may be a launch of its own. A tile has more rows than it takes places.
    (rows + 2, 2 * rows * most(window, context))
}

impl Work {
    /// With at most so many items a launch, which a row's fit in.
    pub(crate) fn new(plan: &Plan, window: usize, capacity: usize) -> Self {
        let (mut list, mut tiles, mut bounds) = (vec![], vec![], vec![0]);
        let (mut row, mut start) = (0, 0);
        for sequence in &plan.sequences {
            if sequence.len > DECODED {
                // The last rows see most: what takes long begins early.
                let firsts = (0..sequence.len).step_by(TILE).rev();
                tiles.extend(firsts.map(|i| [(row + i) as u32, TILE.min(sequence.len - i) as u32]));
                row += sequence.len;
                continue;
            }
            for position in sequence.start..sequence.end() {
                let first = if window == 0 { 0 } else { (position + 1).saturating_sub(window) };
                let splits = first / SPLIT..position / SPLIT + 1;
                if list.len() + splits.len() > start + capacity {
                    start = list.len();
                    bounds.push(start as u32);
                }
                list.extend(splits.map(|split| [row as u32, split as u32]));
                row += 1;
            }
        }
        if list.len() > start {
            bounds.push(list.len() as u32);
        }
        list.extend(tiles);
        bounds.push(list.len() as u32);
        Self { list, bounds }
    }

    /// Launches that take items.
    pub(crate) fn launches(&self) -> usize {
        self.bounds.len() - 2
    }

    /// Whether there are tiles.
    pub(crate) fn tiled(&self) -> bool {
        self.bounds[self.launches()..] != [self.list.len() as u32; 2]
    }
}

#[cfg(test)]
mod tests {
    use plimsoll_backend::Sequence;

    use super::*;

    fn plan(parts: &[(usize, usize)]) -> Plan {
        let sequence = |&(start, len): &(usize, usize)| Sequence { start, len, block_table: vec![] };
        let tokens = vec![0; parts.iter().map(|(_, len)| len).sum()];
        Plan { tokens, sequences: parts.iter().map(sequence).collect(), ..Plan::default() }
    }

    #[test]
    fn rows_of_short_sequences_are_items_and_those_of_long_ones_tiles() {
        let work = Work::new(&plan(&[(127, 2), (40, 150), (256, 1)]), 0, 100);
        let items = [[0, 0], [1, 0], [1, 1], [152, 0], [152, 1], [152, 2]];
        assert_eq!(work.list, [&items[..], &[[130, 22], [66, 64], [2, 64]]].concat());
        assert_eq!((&work.bounds[..], work.launches(), work.tiled()), (&[0, 6, 9][..], 1, true));
    }

    #[test]
    fn rows_have_the_splits_of_their_window() {
        let work = Work::new(&plan(&[(254, 3)]), 128, 100);
        assert_eq!(work.list, [[0, 0], [0, 1], [1, 1], [2, 1], [2, 2]]);
        assert_eq!((work.bounds.as_slice(), work.tiled()), (&[0, 5, 5][..], false));
        for window in [0, 1, 2, 127, 128, 129, 130, 300, 2000] {
            let counts = (0..1000).map(|start| Work::new(&plan(&[(start, 1)]), window, 100).list.len());
            assert_eq!(counts.max(), Some(most(window, 1000)), "{window}");
        }
    }

    #[test]
    fn launches_have_whole_rows_that_fit() {
        let work = Work::new(&plan(&[(0, 2), (200, 8), (300, 1)]), 0, 4);
        assert_eq!(work.list.len(), 2 + 16 + 3);
        assert_eq!(work.bounds, [0, 4, 8, 12, 16, 18, 21, 21]);
        let work = Work::new(&plan(&[(300, 1), (300, 1)]), 0, 3);
        assert_eq!(work.bounds, [0, 3, 6, 6]);
    }

    #[test]
    fn a_step_of_tiles_alone_has_no_other_launch() {
        let work = Work::new(&plan(&[(0, 9)]), 0, 4);
        assert_eq!((work.bounds.as_slice(), work.launches(), work.tiled()), (&[0, 1][..], 0, true));
    }
}
