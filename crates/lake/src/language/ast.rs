/// A whole query: what to find, then what to do with it, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Which events.
    pub search: Search,
    /// The piped commands.
    pub commands: Vec<Command>,
}

/// A condition on events.
#[derive(Clone, Debug, PartialEq)]
pub enum Search {
    /// Every event.
    All,
    /// All of these.
    And(Vec<Search>),
    /// Any of these.
    Or(Vec<Search>),
    /// Everything else.
    Not(Box<Search>),
    /// Events whose text holds this, in any letter case.
    Text(Pattern),
    /// A test on one field.
    Field(Named, Test),
}

/// A field's name as written, with its byte offset in the query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The name.
    pub name: String,
    /// Where it stands.
    pub offset: usize,
}

/// A test on a field's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// The whole value is this; `exact` minds letter case.
    Is {
        /// What it is.
        value: Pattern,
        /// Whether letter case counts.
        exact: bool,
    },
    /// Compared with a value.
    Compare(Operator, String),
    /// Between two values, each with whether it is inside; `None` is open.
    Range(Option<(String, bool)>, Option<(String, bool)>),
    /// Matches a regular expression somewhere.
    Regex(String),
    /// Has a value.
    Exists,
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `<`
    Less,
    /// `<=`
    LessEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterEqual,
}

/// Text with wildcards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// Its parts in order; literals never stand side by side.
    pub pieces: Vec<Piece>,
    /// Byte offset in the query.
    pub offset: usize,
}

/// A part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// This text.
    Literal(String),
    /// `*`: any text, also none.
    Any,
    /// `?`: one character.
    One,
}

impl Pattern {
    /// The text, if there are no wildcards.
    pub fn literal(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [] => Some(""),
            [Piece::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// Whether it is a single `*`.
    pub fn is_any(&self) -> bool {
        self.pieces == [Piece::Any]
    }
}

/// A command after a `|`.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// `where TEST`: keeps rows.
    Where(Search),
    /// `stats CALL, … by FIELD, …`: groups.
    Stats(Vec<Aggregate>, Vec<Named>),
    /// `top N FIELD by FIELD, …` and `rare`: the most (least) frequent values, per group.
    Top {
        /// The field counted.
        field: Named,
        /// Values listed, per group.
        count: usize,
        /// The groups.
        by: Vec<Named>,
        /// Whether the least frequent are wanted.
        rare: bool,
    },
    /// `timechart span=5m CALL, … by FIELD`: groups by time.
    Timechart {
        /// Width of a bucket in microseconds.
        span_us: i64,
        /// What is computed in each.
        aggregates: Vec<Aggregate>,
        /// The series.
        by: Vec<Named>,
    },
    /// `fields a, b` keeps these; `fields -a` drops them.
    Fields {
        /// Kept, in this order; empty keeps all.
        keep: Vec<Named>,
        /// Dropped.
        drop: Vec<Named>,
    },
    /// `sort -a, b`: by these, `-` descending.
    Sort(Vec<SortKey>),
    /// `head N`: the first rows.
    Head(usize),
}

/// One sort key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SortKey {
    /// The field.
    pub field: Named,
    /// Largest first.
    pub descending: bool,
}

/// An aggregate and the name of its column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aggregate {
    /// What is computed.
    pub call: Call,
    /// Over which field; only `count` goes without.
    pub field: Option<Named>,
    /// The column's name: as given with `as`, else as written, as in `sum(bytes)`.
    pub name: String,
}

/// An aggregate function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Rows, or rows with a value.
    Count,
    /// Sum of numbers.
    Sum,
    /// Mean of numbers.
    Avg,
    /// Lowest value.
    Min,
    /// Highest value.
    Max,
    /// Number of distinct values.
    Distinct,
}
