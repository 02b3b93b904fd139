//! When a rule or an attribute applies: `FIELD`, `!FIELD`, `FIELD = a|b`, `FIELD != a|b`, `FIELD ^ prefix`, `FIELD ~ part`, `FIELD $ end`, `FIELD & 0x3`.

use super::expr::{Expr, Scope};

#[derive(Debug, Clone)]
pub(crate) struct Condition {
    left: Expr,
    test: Test,
}

#[derive(Debug, Clone)]
enum Test {
    Present,
    Absent,
    OneOf(Vec<String>),
    NoneOf(Vec<String>),
    Starts(Vec<String>),
    Contains(Vec<String>),
    Ends(Vec<String>),
    /// Some bit of the mask is set in the number, which the source writes in hexadecimal.
    Bits(i64),
}

impl Condition {
    pub(crate) fn parse(text: &str, expr: &dyn Fn(&str) -> Result<Expr, String>) -> Result<Self, String> {
        let text = text.trim();
        for (sign, test) in [
            (" != ", Test::NoneOf as fn(Vec<String>) -> Test),
            (" = ", Test::OneOf),
            (" ^ ", Test::Starts),
            (" ~ ", Test::Contains),
            (" $ ", Test::Ends),
        ] {
            if let Some((left, right)) = text.split_once(sign) {
                let right = right.split('|').map(|one| one.trim_matches(['\'']).to_owned()).collect();
                return Ok(Self { left: expr(left)?, test: test(right) });
            }
        }
        if let Some((left, mask)) = text.split_once(" & ") {
            let mask =
                i64::from_str_radix(mask.trim_start_matches("0x"), 16).map_err(|_| format!("`{mask}` is no hexadecimal mask"))?;
            return Ok(Self { left: expr(left)?, test: Test::Bits(mask) });
        }
        Ok(match text.strip_prefix('!') {
            Some(field) => Self { left: expr(field)?, test: Test::Absent },
            None => Self { left: expr(text)?, test: Test::Present },
        })
    }

    pub(crate) fn holds(&self, scope: &Scope<'_, '_>) -> bool {
        match &self.test {
            Test::Present => return self.left.eval(scope).is_some(),
            Test::Absent => return self.left.eval(scope).is_none(),
            _ => {}
        }
        let Some(text) = self.left.text(scope) else { return matches!(self.test, Test::NoneOf(_)) };
        let head_is = |one: &String| text.get(..one.len()).is_some_and(|head| head.eq_ignore_ascii_case(one));
        match &self.test {
            Test::OneOf(list) => list.iter().any(|one| one.eq_ignore_ascii_case(&text)),
            Test::NoneOf(list) => !list.iter().any(|one| one.eq_ignore_ascii_case(&text)),
            Test::Starts(list) => list.iter().any(head_is),
            Test::Contains(list) => list.iter().any(|one| text.contains(one.as_str())),
            Test::Ends(list) => list.iter().any(|one| {
                text.len() >= one.len() && text.get(text.len() - one.len()..).is_some_and(|end| end.eq_ignore_ascii_case(one))
            }),
            Test::Bits(mask) => i64::from_str_radix(text.trim_start_matches("0x"), 16).is_ok_and(|number| number & mask != 0),
            Test::Present | Test::Absent => true,
        }
    }
}
