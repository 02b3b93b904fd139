//! YAML with line numbers, bounded: what rule files are made of.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle};

/// How deep a rule file may nest.
const DEPTH_MAX: usize = 64;
/// How many values one file may hold after its aliases are written out.
const NODES_MAX: usize = 500_000;

/// One value of a YAML document and the line it starts on, from 1.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) line: u32,
    pub(crate) kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// Text as written, and whether it was written without quotes: `null` is a null, `'null'` is a word.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    /// Entries in order; the line of each key is kept.
    Map(Vec<(String, Node)>),
}

/// What is wrong with a file, and where.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fault {
    pub(crate) line: u32,
    pub(crate) reason: String,
}

impl Fault {
    pub(crate) fn at(line: u32, reason: impl Into<String>) -> Self {
        Self { line, reason: reason.into() }
    }
}

impl Node {
    /// The text of a scalar.
    pub(crate) fn text(&self) -> Option<&str> {
        if let Kind::Scalar { text, .. } = &self.kind { Some(text) } else { None }
    }

    /// The entries of a map.
    pub(crate) fn map(&self) -> Option<&[(String, Node)]> {
        if let Kind::Map(entries) = &self.kind { Some(entries) } else { None }
    }

    /// The items of a list; a single value counts as a list of one, as rule authors write both.
    pub(crate) fn items(&self) -> &[Node] {
        match &self.kind {
            Kind::List(items) => items,
            _ if self.is_null() => &[],
            _ => std::slice::from_ref(self),
        }
    }

    /// The entry of a map under this key.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.map()?.iter().find(|(name, _)| name == key).map(|(_, node)| node)
    }

    /// Whether it is YAML's null.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }
}

/// The documents of a file up to the first fault, and that fault if there is one.
pub(crate) fn documents(text: &str) -> (Vec<Node>, Option<Fault>) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader { parser: Parser::new_from_str(text), anchors: HashMap::new(), nodes: 0 };
    let mut documents = Vec::new();
    loop {
        match reader.next() {
            Ok((Event::StreamEnd, _)) => return (documents, None),
            Ok((Event::DocumentStart(_), _)) => match reader.value(0) {
                Ok(node) => documents.push(node),
                Err(fault) => return (documents, Some(fault)),
            },
            Ok(_) => {}
            Err(fault) => return (documents, Some(fault)),
        }
    }
}

struct Reader<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, u32), Fault> {
        match self.parser.next_event() {
            None => Ok((Event::StreamEnd, 0)),
            Some(Ok((event, span))) => Ok((event, span.start.line() as u32)),
            Some(Err(error)) => Err(Fault::at(error.marker().line() as u32, format!("not YAML: {}", error.info()))),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Node, Fault> {
        let (event, line) = self.next()?;
        self.value_of(event, line, depth)
    }

    fn value_of(&mut self, event: Event<'a>, line: u32, depth: usize) -> Result<Node, Fault> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(Fault::at(line, format!("more than {NODES_MAX} values in one file")));
        }
        if depth > DEPTH_MAX {
            return Err(Fault::at(line, format!("nested deeper than {DEPTH_MAX}")));
        }
        let (anchor, kind) = match event {
            Event::Scalar(text, style, anchor, _) => {
                (anchor, Kind::Scalar { text: text.into_owned(), plain: style == ScalarStyle::Plain })
            }
            Event::SequenceStart(anchor, _) => (anchor, Kind::List(self.list(depth)?)),
            Event::MappingStart(anchor, _) => (anchor, Kind::Map(self.entries(depth)?)),
            Event::Alias(anchor) => return self.alias(anchor, line),
            other => return Err(Fault::at(line, format!("not YAML: unexpected {}", event_name(&other)))),
        };
        let node = Node { line, kind };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, Fault> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(items),
                (event, line) => items.push(self.value_of(event, line, depth + 1)?),
            }
        }
    }

    fn entries(&mut self, depth: usize) -> Result<Vec<(String, Node)>, Fault> {
        let mut entries: Vec<(String, Node)> = Vec::new();
        loop {
            let key = match self.next()? {
                (Event::MappingEnd, _) => return Ok(entries),
                (event, line) => self.value_of(event, line, depth + 1)?,
            };
            let Kind::Scalar { text, .. } = key.kind else {
                return Err(Fault::at(key.line, "a name must be plain text"));
            };
            if entries.iter().any(|(name, _)| *name == text) {
                return Err(Fault::at(key.line, format!("`{text}` is given twice")));
            }
            let mut value = self.value(depth + 1)?;
            // Fields are found by the line of their name, also when the value starts further down.
            value.line = key.line;
            entries.push((text, value));
        }
    }

    fn alias(&mut self, anchor: usize, line: u32) -> Result<Node, Fault> {
        let node = self.anchors.get(&anchor).ok_or_else(|| Fault::at(line, "alias to nothing"))?.clone();
        self.nodes += size(&node);
        if self.nodes > NODES_MAX {
            return Err(Fault::at(line, format!("more than {NODES_MAX} values in one file, aliases written out")));
        }
        Ok(node)
    }
}

fn size(node: &Node) -> usize {
    match &node.kind {
        Kind::Scalar { .. } => 1,
        Kind::List(items) => 1 + items.iter().map(size).sum::<usize>(),
        Kind::Map(entries) => 1 + entries.iter().map(|(_, node)| size(node)).sum::<usize>(),
    }
}

fn event_name(event: &Event<'_>) -> &'static str {
    match event {
        Event::SequenceEnd | Event::MappingEnd => "end of a list or map",
        Event::DocumentEnd | Event::DocumentStart(_) => "document boundary",
        Event::StreamEnd => "end of file",
        _ => "event",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_quotes_and_nulls_are_kept() {
        let (documents, fault) = documents("a: 1\nb:\n  - x\n  - 'null'\nc:\n---\nd: ~\n");
        assert_eq!(fault, None);
        assert_eq!(documents.len(), 2);
        let list = documents[0].get("b").unwrap();
        assert_eq!((list.line, list.items()[1].line), (2, 4));
        assert!(!list.items()[1].is_null());
        assert!(documents[0].get("c").unwrap().is_null());
        assert!(documents[1].get("d").unwrap().is_null());
    }

    #[test]
    fn a_fault_keeps_what_came_before() {
        let (documents, fault) = documents("a: 1\n---\nb: [1, 2\nc: }\n");
        assert_eq!(documents.len(), 1);
        assert!(fault.unwrap().line >= 3);
    }

    #[test]
    fn aliases_cannot_explode() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..9 {
            let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
        }
        assert!(documents(&text).1.unwrap().reason.contains("aliases"));
    }

    #[test]
    fn depth_is_bounded() {
        assert!(documents(&"[".repeat(100_000)).1.is_some());
    }
}
