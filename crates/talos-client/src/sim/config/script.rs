//! Which lines a node deletes, keeps and inserts: the order is that of the search it does.
//!
//! The node looks for the middle of a shortest path from both ends (Myers, 1986), and for the middles of both
//! halves again. Where several paths are equally short, where the halves meet decides; so the order of lines in
//! a diff can only be had by the same search with the same limits.

/// One line of a script, by its places in the old and in the new text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edit {
    /// In both texts.
    Keep(usize, usize),
    /// Only in the old one.
    Delete(usize),
    /// Only in the new one.
    Insert(usize),
}

/// Pieces shorter than this on both sides are not halved any more.
const SMALL: usize = 10;

/// How often a piece may be cut before it is not halved any more.
const DEPTH: usize = 30;

/// The script that makes the second text of the first.
pub(super) fn script(old: &[&str], new: &[&str]) -> Vec<Edit> {
    let mut search = Search { old, new, out: Vec::new() };
    search.piece(Piece { x: 0, y: 0, end_x: old.len(), end_y: new.len() }, 0);
    search.out
}

/// A rectangle of the grid: lines `x..end_x` of the old text against `y..end_y` of the new one.
#[derive(Clone, Copy)]
struct Piece {
    x: usize,
    y: usize,
    end_x: usize,
    end_y: usize,
}

impl Piece {
    fn width(self) -> usize {
        self.end_x.saturating_sub(self.x)
    }

    fn height(self) -> usize {
        self.end_y.saturating_sub(self.y)
    }
}

struct Search<'a> {
    old: &'a [&'a str],
    new: &'a [&'a str],
    out: Vec<Edit>,
}

impl Search<'_> {
    fn same(&self, x: usize, y: usize) -> bool {
        self.old.get(x) == self.new.get(y)
    }

    fn keep(&mut self, x: usize, y: usize, length: usize) {
        self.out.extend((0..length).map(|i| Edit::Keep(x + i, y + i)));
    }

    fn delete(&mut self, x: usize, end: usize) {
        self.out.extend((x..end).map(Edit::Delete));
    }

    fn insert(&mut self, y: usize, end: usize) {
        self.out.extend((y..end).map(Edit::Insert));
    }

    fn piece(&mut self, piece: Piece, depth: usize) {
        let (width, height) = (piece.width(), piece.height());
        if width == 0 || height == 0 {
            self.delete(piece.x, piece.end_x);
            self.insert(piece.y, piece.end_y);
            return;
        }
        if depth >= DEPTH || (width < SMALL && height < SMALL) {
            self.table(piece);
            return;
        }
        let shorter = width.min(height);
        let head = (0..shorter).take_while(|i| self.same(piece.x + i, piece.y + i)).count();
        let tail = (0..shorter - head)
            .take_while(|i| self.same(piece.end_x - 1 - i, piece.end_y - 1 - i))
            .count();
        if head > 0 || tail > 0 {
            let inner = Piece {
                x: piece.x + head,
                y: piece.y + head,
                end_x: piece.end_x - tail,
                end_y: piece.end_y - tail,
            };
            self.keep(piece.x, piece.y, head);
            self.piece(inner, depth + 1);
            self.keep(inner.end_x, inner.end_y, tail);
            return;
        }
        let (x, y, length) = self.middle(piece);
        self.piece(Piece { end_x: x, end_y: y, ..piece }, depth + 1);
        self.keep(x, y, length);
        self.piece(Piece { x: x + length, y: y + length, ..piece }, depth + 1);
    }

    /// A small piece, by a table of longest common parts, read from its end; insertions are taken first there.
    fn table(&mut self, piece: Piece) {
        let (width, height) = (piece.width(), piece.height());
        let row = height + 1;
        let mut longest = vec![0usize; (width + 1) * row];
        let at = |table: &[usize], x: usize, y: usize| table.get(x * row + y).copied().unwrap_or(0);
        for x in 1..=width {
            for y in 1..=height {
                let value = if self.same(piece.x + x - 1, piece.y + y - 1) {
                    at(&longest, x - 1, y - 1) + 1
                } else {
                    at(&longest, x - 1, y).max(at(&longest, x, y - 1))
                };
                if let Some(cell) = longest.get_mut(x * row + y) {
                    *cell = value;
                }
            }
        }
        let (mut x, mut y) = (width, height);
        let mut pairs = Vec::new();
        while x > 0 && y > 0 {
            if self.same(piece.x + x - 1, piece.y + y - 1) {
                (x, y) = (x - 1, y - 1);
                pairs.push((piece.x + x, piece.y + y));
            } else if at(&longest, x - 1, y) > at(&longest, x, y - 1) {
                x -= 1;
            } else {
                y -= 1;
            }
        }
        let (mut x, mut y) = (piece.x, piece.y);
        for (keep_x, keep_y) in pairs.into_iter().rev() {
            self.delete(x, keep_x);
            self.insert(y, keep_y);
            self.keep(keep_x, keep_y, 1);
            (x, y) = (keep_x + 1, keep_y + 1);
        }
        self.delete(x, piece.end_x);
        self.insert(y, piece.end_y);
    }

    /// Where both searches meet: where the common lines there begin, and how many they are.
    fn middle(&self, piece: Piece) -> (usize, usize, usize) {
        let (width, height) = (piece.width(), piece.height());
        let start = (piece.x, piece.y, 0);
        if width == 1 || height == 1 {
            for x in piece.x..piece.end_x {
                if let Some(y) = (piece.y..piece.end_y).find(|y| self.same(x, *y)) {
                    return (x, y, 1);
                }
            }
            return start;
        }
        let (Ok(n), Ok(m)) = (i64::try_from(width), i64::try_from(height)) else { return start };
        let same = |x: i64, y: i64| match (usize::try_from(x), usize::try_from(y)) {
            (Ok(x), Ok(y)) => x < width && y < height && self.same(piece.x + x, piece.y + y),
            _ => false,
        };
        let met = |x: i64, y: i64, length: i64| {
            let place = |base: usize, by: i64| usize::try_from(by).map_or(base, |by| base + by);
            (place(piece.x, x), place(piece.y, y), usize::try_from(length).unwrap_or(0))
        };
        let delta = n - m;
        let steps = (n + m + 1) / 2;
        let (mut there, mut back) = (Reach::new(steps, delta), Reach::new(steps, delta));
        there.set(0, 0);
        back.set(delta, n);
        for d in 0..=steps {
            for k in (-d..=d).step_by(2) {
                let right = if k > -d { there.get(k - 1).map(|x| x + 1) } else { None };
                let down = if k < d { there.get(k + 1) } else { None };
                let first = if d == 0 { there.get(0) } else { None };
                let Some(x) = right.max(down).or(first) else { continue };
                let from = x.min(n);
                if !(0..=m).contains(&(from - k)) {
                    continue;
                }
                let mut x = from;
                while same(x, x - k) {
                    x += 1;
                }
                let meets = delta % 2 != 0 && (k - delta).abs() < d;
                if there.set(k, x) && meets && back.get(k).is_some_and(|other| x >= other) {
                    return met(from, from - k, x - from);
                }
            }
            for k in (delta - d..=delta + d).step_by(2) {
                let left = if k > delta - d { back.get(k - 1) } else { None };
                let up = if k < delta + d { back.get(k + 1).map(|x| x - 1) } else { None };
                let Some(x) = left.into_iter().chain(up).min() else { continue };
                let from = x.max(0);
                if !(0..=m).contains(&(from - k)) {
                    continue;
                }
                let mut x = from;
                while same(x - 1, x - 1 - k) {
                    x -= 1;
                }
                let meets = delta % 2 == 0 && k.abs() <= d;
                if back.set(k, x) && meets && there.get(k).is_some_and(|other| other >= x) {
                    return met(x, x - k, from - x);
                }
            }
        }
        start
    }
}

/// How far a search came on each diagonal.
struct Reach {
    offset: i64,
    far: Vec<Option<i64>>,
}

impl Reach {
    fn new(steps: i64, delta: i64) -> Self {
        let size = 2 * steps + 1 + delta.abs();
        let far = vec![None; usize::try_from(size).unwrap_or(0)];
        Self { offset: steps + (-delta).max(0), far }
    }

    fn get(&self, diagonal: i64) -> Option<i64> {
        let at = usize::try_from(self.offset + diagonal).ok()?;
        self.far.get(at).copied().flatten()
    }

    fn set(&mut self, diagonal: i64, x: i64) -> bool {
        let cell = usize::try_from(self.offset + diagonal).ok().and_then(|at| self.far.get_mut(at));
        cell.map(|cell| *cell = Some(x)).is_some()
    }
}
