//! Functions that queries call: tests on text, native fields, observables and raw bytes.

use std::{
    fmt,
    hash::{Hash, Hasher},
    net::IpAddr,
    sync::{Arc, LazyLock},
};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, ListArray, StringArray, StringBuilder},
    datatypes::{DataType, Int64Type},
};
use datafusion::{
    common::{DataFusionError, Result as EngineResult, ScalarValue},
    logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility},
};
use ipnet::IpNet;
use lru::LruCache;
use parking_lot::Mutex;
use reeve_record::RecordId;
use regex::bytes::{Regex, RegexBuilder};

use crate::{
    native::{self, Natives},
    rows,
    texts::{self, Found, TextTest},
};

/// A test of one text.
#[derive(Clone, Debug)]
pub(crate) enum Matcher {
    /// There is a value.
    Exists,
    /// The same text, in any letter case.
    Folded(String),
    /// The very same text.
    Exact(String),
    /// A pattern over the whole text, or a part of it as the pattern says.
    Pattern(Regex),
    /// An address in a network.
    Network(IpNet),
    /// Between two bounds; numbers as numbers if bound and text both are.
    Between(Option<Limit>, Option<Limit>),
}

/// One end of a range.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Limit {
    pub(crate) value: String,
    pub(crate) inclusive: bool,
}

impl Matcher {
    pub(crate) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exists => true,
            Self::Folded(wanted) => same_folded(text, wanted),
            Self::Exact(wanted) => text == wanted,
            Self::Pattern(pattern) => pattern.is_match(text.as_bytes()),
            Self::Network(network) => is_inside(text, network),
            Self::Between(low, high) => {
                low.as_ref().is_none_or(|limit| limit.holds(text, std::cmp::Ordering::Greater))
                    && high.as_ref().is_none_or(|limit| limit.holds(text, std::cmp::Ordering::Less))
            }
        }
    }
}

impl Limit {
    fn holds(&self, text: &str, wanted: std::cmp::Ordering) -> bool {
        let found = match (text.parse::<f64>(), self.value.parse::<f64>()) {
            (Ok(text), Ok(limit)) => text.partial_cmp(&limit),
            // A number is neither above nor below a word.
            (Err(_), Ok(_)) => None,
            _ => Some(text.cmp(self.value.as_str())),
        };
        found.is_some_and(|found| found == wanted || (self.inclusive && found == std::cmp::Ordering::Equal))
    }
}

fn is_inside(text: &str, network: &IpNet) -> bool {
    text.parse::<IpAddr>().is_ok_and(|address| network.contains(&address))
}

fn same_folded(text: &str, wanted: &str) -> bool {
    if text.is_ascii() && wanted.is_ascii() {
        text.eq_ignore_ascii_case(wanted)
    } else {
        text.to_lowercase() == wanted.to_lowercase()
    }
}

/// A pattern that finds `text` in bytes in any letter case, also where JSON escaped it.
pub(crate) fn needle(text: &str) -> EngineResult<Regex> {
    let spellings: Vec<String> = spellings(text).iter().map(|spelling| regex::escape(spelling)).collect();
    pattern_of(&spellings.join("|"))
}

/// The text as it is, and as JSON escapes it if that differs.
pub(crate) fn spellings(text: &str) -> Vec<String> {
    let escaped = serde_json::to_string(text).unwrap_or_default();
    let inner = escaped.trim_matches('"');
    let mut spellings = vec![text.to_owned()];
    if inner != text && !inner.is_empty() {
        spellings.push(inner.to_owned());
    }
    spellings
}

/// Compiles a pattern of bounded size, in any letter case.
pub(crate) fn pattern_of(pattern: &str) -> EngineResult<Regex> {
    let built = RegexBuilder::new(pattern).case_insensitive(true).dot_matches_new_line(true).size_limit(4 << 20).build();
    built.map_err(|error| DataFusionError::Plan(format!("pattern `{pattern}`: {error}")))
}

type Evaluate = dyn Fn(&[ArrayRef]) -> EngineResult<ArrayRef> + Send + Sync;

/// A function made for one place in one query; its name says all that it does, so equal names are equal functions.
struct Made {
    name: String,
    signature: Signature,
    returns: DataType,
    evaluate: Arc<Evaluate>,
    about: About,
}

/// What the scan must know of a function to answer it in a cheaper way.
#[derive(Clone)]
enum About {
    Nothing,
    /// It tests the text of events.
    Text(Arc<TextTest>),
    /// It asks the set of records that hold a text.
    Found(Arc<Found>),
}

impl fmt::Debug for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl PartialEq for Made {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Made {}

impl Hash for Made {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Made {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> EngineResult<DataType> {
        Ok(self.returns.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> EngineResult<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let result = (self.evaluate)(&arrays)?;
        Ok(if scalar && !result.is_empty() {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?)
        } else {
            ColumnarValue::Array(result)
        })
    }
}

fn made(
    name: String,
    arguments: usize,
    returns: DataType,
    evaluate: impl Fn(&[ArrayRef]) -> EngineResult<ArrayRef> + Send + Sync + 'static,
) -> ScalarUDF {
    made_about(name, arguments, returns, About::Nothing, evaluate)
}

fn made_about(
    name: String,
    arguments: usize,
    returns: DataType,
    about: About,
    evaluate: impl Fn(&[ArrayRef]) -> EngineResult<ArrayRef> + Send + Sync + 'static,
) -> ScalarUDF {
    let signature = Signature::any(arguments, Volatility::Immutable);
    ScalarUDF::new_from_impl(Made { name, signature, returns, evaluate: Arc::new(evaluate), about })
}

fn about(expr: &Expr) -> Option<&About> {
    let Expr::ScalarFunction(call) = expr else { return None };
    call.func.inner().downcast_ref::<Made>().map(|made| &made.about)
}

/// The test of text that this expression is.
pub(crate) fn text_of(expr: &Expr) -> Option<&Arc<TextTest>> {
    if let Some(About::Text(test)) = about(expr) { Some(test) } else { None }
}

/// The set of records that this expression asks.
pub(crate) fn found_of(expr: &Expr) -> Option<&Arc<Found>> {
    if let Some(About::Found(found)) = about(expr) { Some(found) } else { None }
}

/// `column` passes the matcher; null where it has no value. `said` is the test in words, unique to it.
pub(crate) fn text_test(column: Expr, said: &str, matcher: Matcher) -> Expr {
    let name = format!("matches[{said}]");
    made(name, 1, DataType::Boolean, move |arrays| {
        let texts = texts(&arrays[0])?;
        let found: BooleanArray = texts.iter().map(|text| text.map(|text| matcher.matches(text))).collect();
        Ok(Arc::new(found))
    })
    .call(vec![column])
}

/// Some native field of this name, or OCSF attribute without a column, passes the matcher. Never null.
pub(crate) fn field_test(field: &str, said: &str, matcher: Matcher) -> Expr {
    let field = field.to_owned();
    made(format!("field[{said}]"), 2, DataType::Boolean, move |arrays| {
        let (natives, rests) = (natives(&arrays[0])?, texts(&arrays[1])?);
        let meant = natives.meant(&field);
        let found: BooleanArray = (0..arrays[0].len())
            .map(|row| {
                let native = natives.values_of(row, &meant).any(|value| matcher.matches(value));
                Some(
                    native || (rests.is_valid(row) && rest_values(rests.value(row), &field).any(|value| matcher.matches(&value))),
                )
            })
            .collect();
        Ok(Arc::new(found))
    })
    .call(vec![datafusion::prelude::col("native"), datafusion::prelude::col("ocsf_rest")])
}

/// The first value of the native field of this name, as text.
pub(crate) fn field_value(field: &str) -> Expr {
    let wanted = field.to_owned();
    made(format!("native[{field}]"), 1, DataType::Utf8, move |arrays| {
        let natives = natives(&arrays[0])?;
        let meant = natives.meant(&wanted);
        let values: StringArray = (0..arrays[0].len()).map(|row| natives.values_of(row, &meant).next()).collect();
        Ok(Arc::new(values))
    })
    .call(vec![datafusion::prelude::col("native")])
}

/// The text as a number, null if it is none.
pub(crate) fn number(text: Expr) -> Expr {
    made("number".into(), 1, DataType::Float64, |arrays| Ok(arrow::compute::cast(&arrays[0], &DataType::Float64)?))
        .call(vec![text])
}

/// Some observable passes the matcher. Never null.
pub(crate) fn observable_test(said: &str, matcher: Matcher) -> Expr {
    made(format!("observable[{said}]"), 1, DataType::Boolean, move |arrays| {
        let lists: &ListArray = arrays[0].as_list_opt().ok_or_else(|| mistyped("observables"))?;
        let values = lists
            .values()
            .as_struct_opt()
            .and_then(|items| items.column_by_name("value").cloned())
            .ok_or_else(|| mistyped("observables"))?;
        let values = texts(&values)?;
        let found: BooleanArray = lists
            .offsets()
            .windows(2)
            .map(|pair| Some((pair[0] as usize..pair[1] as usize).any(|index| matcher.matches(values.value(index)))))
            .collect();
        Ok(Arc::new(found))
    })
    .call(vec![datafusion::prelude::col("observables")])
}

/// The event's text passes the test: its raw bytes, or its native fields where the record is a binary chunk of many events.
pub(crate) fn event_test(test: TextTest) -> Expr {
    let arguments = ["raw", "native", "decoder"].map(datafusion::prelude::col).to_vec();
    let (name, pattern) = (format!("text[{}]", test.said), test.pattern.clone());
    made_about(name, 3, DataType::Boolean, About::Text(Arc::new(test)), move |arrays| {
        let raws = arrays[0].as_binary_view_opt().ok_or_else(|| mistyped("raw"))?;
        let natives = natives(&arrays[1])?;
        let (is_chunked, values) = (texts::chunked_rows(&arrays[2]), natives.values);
        let found: BooleanArray = (0..raws.len())
            .map(|row| {
                Some(if is_chunked(row) || raws.is_null(row) {
                    natives.entries(row).any(|index| values.is_valid(index) && pattern.is_match(values.value(index).as_bytes()))
                } else {
                    pattern.is_match(raws.value(row))
                })
            })
            .collect();
        Ok(Arc::new(found))
    })
    .call(arguments)
}

/// The event is read from a record that holds the text; says the same as [`event_test`] and needs no raw bytes.
pub(crate) fn found_test(found: &Arc<Found>) -> Expr {
    let arguments = ["record", "records", "native", "decoder"].map(datafusion::prelude::col).to_vec();
    let set = found.clone();
    made_about(format!("found[{}]", found.test.said), 4, DataType::Boolean, About::Found(found.clone()), move |arrays| {
        let records = arrays[0].as_primitive_opt::<Int64Type>().ok_or_else(|| mistyped("record"))?;
        let lists: &ListArray = arrays[1].as_list_opt().ok_or_else(|| mistyped("records"))?;
        let natives = natives(&arrays[2])?;
        let holds = set.of_all(records, lists, &natives, texts::chunked_rows(&arrays[3]));
        Ok(Arc::new(holds.map_err(|error| DataFusionError::External(error.into()))?))
    })
    .call(arguments)
}

/// [`found_test`] for events of one record each that are no binary chunks, all of whose records were looked at.
pub(crate) fn found_record(found: &Arc<Found>) -> Expr {
    let set = found.clone();
    made(format!("found record[{}]", found.test.said), 1, DataType::Boolean, move |arrays| {
        let records = arrays[0].as_primitive_opt::<Int64Type>().ok_or_else(|| mistyped("record"))?;
        Ok(Arc::new(set.of_known(records)))
    })
    .call(vec![datafusion::prelude::col("record")])
}

/// Decoder whose records are binary chunks that hold many events.
pub(crate) const CHUNKED: &str = "evtx";

/// What SQL may call beyond the engine's own functions.
pub(crate) fn sql_functions() -> Vec<ScalarUDF> {
    vec![
        made("raw_contains".into(), 2, DataType::Boolean, |arrays| {
            let (raws, wanted) = (arrow::compute::cast(&arrays[0], &DataType::BinaryView)?, texts(&arrays[1])?);
            let raws = raws.as_binary_view();
            let mut patterns = PatternCache::default();
            let found: EngineResult<BooleanArray> = (0..raws.len())
                .map(|row| {
                    (raws.is_valid(row) && wanted.is_valid(row))
                        .then(|| Ok(patterns.needle(wanted.value(row))?.is_match(raws.value(row))))
                        .transpose()
                })
                .collect();
            Ok(Arc::new(found?))
        }),
        made("native_value".into(), 2, DataType::Utf8, |arrays| {
            let (natives, names) = (natives(&arrays[0])?, texts(&arrays[1])?);
            let mut values = StringBuilder::new();
            // Nearly always one name for the whole batch.
            let mut last: Option<(String, Vec<bool>)> = None;
            for row in 0..names.len() {
                if !names.is_valid(row) {
                    values.append_null();
                    continue;
                }
                let name = names.value(row);
                let (_, meant) = match last.take() {
                    Some(held) if held.0 == name => last.insert(held),
                    _ => last.insert((name.to_owned(), natives.meant(name))),
                };
                values.append_option(natives.values_of(row, meant).next());
            }
            Ok(Arc::new(values.finish()))
        }),
        made("in_cidr".into(), 2, DataType::Boolean, |arrays| {
            let (addresses, networks) = (texts(&arrays[0])?, texts(&arrays[1])?);
            let mut last: (String, Option<IpNet>) = Default::default();
            let mut found = Vec::with_capacity(addresses.len());
            for row in 0..addresses.len() {
                if networks.is_valid(row) && networks.value(row) != last.0 {
                    let text = networks.value(row);
                    last = (
                        text.to_owned(),
                        Some(
                            text.parse()
                                .map_err(|_| DataFusionError::Plan(format!("`{text}` is not a network: write 10.0.0.0/8")))?,
                        ),
                    );
                }
                let both = addresses.is_valid(row) && networks.is_valid(row);
                found.push(both.then(|| last.1.as_ref().is_some_and(|network| is_inside(addresses.value(row), network))));
            }
            Ok(Arc::new(BooleanArray::from(found)))
        }),
        made("record_id".into(), 1, DataType::Int64, |arrays| {
            let ids: Int64Array = texts(&arrays[0])?
                .iter()
                .map(|text| text.and_then(|text| text.parse::<RecordId>().ok()).map(rows::packed))
                .collect();
            Ok(Arc::new(ids))
        }),
        made("record_text".into(), 1, DataType::Utf8, |arrays| {
            let numbers = arrow::compute::cast(&arrays[0], &DataType::Int64)?;
            let ids: StringArray = numbers
                .as_primitive::<Int64Type>()
                .iter()
                .map(|id| id.map(|id| RecordId::unpack(id.cast_unsigned()).to_string()))
                .collect();
            Ok(Arc::new(ids))
        }),
    ]
}

#[derive(Default)]
struct PatternCache(Option<(String, Regex)>);

static PATTERNS: LazyLock<Mutex<LruCache<String, Regex>>> =
    LazyLock::new(|| Mutex::new(LruCache::new(std::num::NonZeroUsize::MIN.saturating_add(63))));

impl PatternCache {
    fn needle(&mut self, text: &str) -> EngineResult<&Regex> {
        if self.0.as_ref().is_none_or(|(held, _)| held != text) {
            let known = PATTERNS.lock().get(text).cloned();
            let pattern = match known {
                Some(pattern) => pattern,
                None => {
                    let pattern = needle(text)?;
                    PATTERNS.lock().put(text.to_owned(), pattern.clone());
                    pattern
                }
            };
            self.0 = Some((text.to_owned(), pattern));
        }
        self.0.as_ref().map(|(_, pattern)| pattern).ok_or_else(|| mistyped("pattern"))
    }
}

/// Values in the JSON text of attributes without a column. Only texts that name the attribute are parsed at all.
fn rest_values(json: &str, name: &str) -> impl Iterator<Item = String> {
    let last = name.rsplit('.').next().unwrap_or(name);
    let mut found = Vec::new();
    if memchr::memmem::find(json.as_bytes(), last.as_bytes()).is_some()
        && let Ok(serde_json::Value::Object(attributes)) = serde_json::from_str(json)
    {
        for (path, value) in &attributes {
            flatten(path, value, name, &mut found);
        }
    }
    found.into_iter()
}

fn flatten(path: &str, value: &serde_json::Value, name: &str, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(map) => {
            map.iter().for_each(|(key, value)| flatten(&format!("{path}.{key}"), value, name, found))
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| flatten(path, item, name, found)),
        serde_json::Value::Null => {}
        serde_json::Value::String(text) if native::is_named(path, name) => found.push(text.clone()),
        other if native::is_named(path, name) => found.push(other.to_string()),
        _ => {}
    }
}

fn natives(array: &ArrayRef) -> EngineResult<Natives<'_>> {
    array.as_map_opt().and_then(Natives::of).ok_or_else(|| mistyped("native"))
}

fn texts(array: &ArrayRef) -> EngineResult<arrow::array::StringViewArray> {
    let views = arrow::compute::cast(array, &DataType::Utf8View)?;
    Ok(views.as_string_view().clone())
}

fn mistyped(what: &str) -> DataFusionError {
    DataFusionError::Plan(format!("this function takes the column `{what}`"))
}
