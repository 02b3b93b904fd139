//! The values of the fields rules ask about, copied out of one event into buffers that are used again for the next.

use reeve_decode::Value;

use crate::sigma::item::FieldId;

const NONE: u32 = u32::MAX;

/// One value of a field.
#[derive(Clone, Copy)]
struct Held {
    next: u32,
    text: (u32, u32),
    folded: (u32, u32),
    null: bool,
}

/// Values by field. A field has none, one or several.
#[derive(Default)]
pub(crate) struct Slots {
    generation: u32,
    /// Per field: the generation it was filled in, its first and its last value.
    heads: Vec<(u32, u32, u32)>,
    values: Vec<Held>,
    text: String,
    folded: String,
}

/// One value as tests see it.
#[derive(Clone, Copy)]
pub(crate) struct Seen<'s> {
    /// As the source wrote it; numbers and booleans as text.
    pub(crate) text: &'s str,
    /// The same in lower case.
    pub(crate) folded: &'s str,
    /// The source named the field and gave it no value.
    pub(crate) null: bool,
}

impl Slots {
    /// Forgets all values, keeps the buffers unless one event made them huge.
    pub(crate) fn clear(&mut self, fields: usize) {
        const KEPT_BYTES: usize = 4 << 20;
        self.generation = self.generation.wrapping_add(1);
        if self.heads.len() != fields || self.generation == 0 {
            self.heads.clear();
            self.heads.resize(fields, (0, NONE, NONE));
            self.generation = 1;
        }
        self.values.clear();
        self.text.clear();
        self.folded.clear();
        if self.text.capacity() > KEPT_BYTES {
            self.text = String::new();
            self.folded = String::new();
        }
    }

    pub(crate) fn is_empty(&self, field: FieldId) -> bool {
        self.first(field) == NONE
    }

    fn first(&self, field: FieldId) -> u32 {
        match self.heads.get(field as usize) {
            Some((generation, first, _)) if *generation == self.generation => *first,
            _ => NONE,
        }
    }

    /// All values of a field.
    pub(crate) fn get(&self, field: FieldId) -> impl Iterator<Item = Seen<'_>> {
        let mut at = self.first(field);
        std::iter::from_fn(move || {
            let held = self.values.get(at as usize)?;
            at = held.next;
            Some(Seen {
                text: &self.text[held.text.0 as usize..held.text.1 as usize],
                folded: &self.folded[held.folded.0 as usize..held.folded.1 as usize],
                null: held.null,
            })
        })
    }

    /// Adds a text.
    pub(crate) fn push(&mut self, field: FieldId, text: &str) {
        self.add(field, text, false);
    }

    /// Adds a value: every item of a list, a map as its JSON text.
    pub(crate) fn push_value(&mut self, field: FieldId, value: &Value<'_>) {
        match value {
            Value::Null => self.add(field, "", true),
            Value::List(items) => items.iter().for_each(|item| self.push_value(field, item)),
            Value::Map(_) => {
                if let Ok(json) = serde_json::to_string(value) {
                    self.add(field, &json, false);
                }
            }
            other => {
                if let Some(text) = other.text() {
                    self.add(field, &text, false);
                }
            }
        }
    }

    fn add(&mut self, field: FieldId, text: &str, null: bool) {
        let Some(head) = self.heads.get_mut(field as usize) else { return };
        // Offsets are 32 bits wide; what an event holds beyond 2 GiB is out of reach of rules.
        if self.text.len() + text.len() > (u32::MAX / 2) as usize || self.folded.len() > (u32::MAX / 2) as usize {
            return;
        }
        let index = self.values.len() as u32;
        if head.0 == self.generation && head.1 != NONE {
            if let Some(last) = self.values.get_mut(head.2 as usize) {
                last.next = index;
            }
            head.2 = index;
        } else {
            *head = (self.generation, index, index);
        }
        let start = self.text.len() as u32;
        self.text.push_str(text);
        let folded_start = self.folded.len();
        if text.is_ascii() {
            self.folded.push_str(text);
            self.folded[folded_start..].make_ascii_lowercase();
        } else {
            self.folded.push_str(&text.to_lowercase());
        }
        self.values.push(Held {
            next: NONE,
            text: (start, self.text.len() as u32),
            folded: (folded_start as u32, self.folded.len() as u32),
            null,
        });
    }
}
