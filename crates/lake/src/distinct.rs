//! `count(distinct)` beside plain counts, planned as two group-bys.
//!
//! The engine does so itself where the other aggregates are sums, minima and maxima; else it keeps a set of values for every group, which costs several
//! times as much. A count is a sum of ones, so all that is needed is to say it that way.

use std::sync::Arc;

use datafusion::{
    common::{DataFusionError, Result, tree_node::Transformed},
    functions::core::expr_fn::coalesce,
    functions_aggregate::expr_fn::sum,
    logical_expr::{
        Aggregate, Expr, ExprSchemable, LogicalPlan,
        builder::project,
        expr::{AggregateFunction, AggregateFunctionParams},
        lit, when,
    },
    optimizer::{ApplyOrder, Optimizer, OptimizerConfig, OptimizerRule},
};

/// Turns plain counts into sums where they stand beside a `count(distinct)` over one thing, in groups that have rows.
#[derive(Debug)]
pub(crate) struct CountsBesideDistinct;

impl OptimizerRule for CountsBesideDistinct {
    fn name(&self) -> &'static str {
        "counts_beside_distinct"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        match plan {
            LogicalPlan::Aggregate(aggregate) if fits(&aggregate) => Ok(Transformed::yes(as_sums(aggregate)?)),
            other => Ok(Transformed::no(other)),
        }
    }
}

/// The engine's own rules with this one before the one it is for.
pub(crate) fn rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let mut rules = Optimizer::new().rules;
    let place = rules.iter().position(|rule| rule.name() == "single_distinct_aggregation_to_group_by");
    rules.insert(place.unwrap_or(0), Arc::new(CountsBesideDistinct));
    rules
}

/// Whether there is a distinct aggregate, a plain count, and nothing that two group-bys cannot give.
fn fits(aggregate: &Aggregate) -> bool {
    let parts: Option<Vec<_>> = aggregate.aggr_expr.iter().map(plain).collect();
    let Some(parts) = parts else { return false };
    // Without groups there is one for no rows at all: its count is 0, but its sum is null.
    let grouped = !aggregate.group_expr.is_empty() && !matches!(aggregate.group_expr[0], Expr::GroupingSet(_));
    let mut distinct = parts.iter().filter(|(_, params)| params.distinct);
    let Some((_, first)) = distinct.next() else { return false };
    grouped
        && first.args.len() == 1
        && distinct.all(|(_, params)| params.args == first.args)
        && parts.iter().any(|(name, params)| *name == "count" && !params.distinct)
        && parts.iter().all(|(name, params)| params.distinct || ["count", "sum", "min", "max"].contains(name))
}

/// Name and parameters of an aggregate over all rows of a group, in whatever order.
fn plain(expr: &Expr) -> Option<(&str, &AggregateFunctionParams)> {
    let Expr::AggregateFunction(AggregateFunction { func, params }) = expr else { return None };
    (params.filter.is_none() && params.order_by.is_empty() && params.null_treatment.is_none()).then_some((func.name(), params))
}

fn as_sums(aggregate: Aggregate) -> Result<LogicalPlan> {
    let Aggregate { input, group_expr, aggr_expr, schema, .. } = aggregate;
    let groups = group_expr.len();
    // Where each of the aggregates asked for now stands, and whether it is a count.
    let (mut made, mut places) = (Vec::with_capacity(aggr_expr.len()), Vec::with_capacity(aggr_expr.len()));
    for expr in aggr_expr {
        let counted = match plain(&expr) {
            Some(("count", params)) if !params.distinct => Some(params.args.clone()),
            _ => None,
        };
        let is_count = counted.is_some();
        let expr = counted.map_or(Ok(expr), |args| Ok::<_, DataFusionError>(sum(one_if_there(args, &input)?)))?;
        // Two counts can be the same sum, which may stand there once.
        let place = made.iter().position(|known| *known == expr).unwrap_or(made.len());
        if place == made.len() {
            made.push(expr);
        }
        places.push((groups + place, is_count));
    }
    let made = LogicalPlan::Aggregate(Aggregate::try_new(input, group_expr, made)?);
    let columns = made.schema().columns();
    let asked = (0..groups).map(|place| (place, false)).chain(places).enumerate().map(|(nth, (place, is_count))| {
        let (qualifier, field) = schema.qualified_field(nth);
        let value = Expr::Column(columns[place].clone());
        let value = if is_count { coalesce(vec![value, lit(0_i64)]) } else { value };
        value.alias_qualified(qualifier.cloned(), field.name())
    });
    project(made, asked.collect::<Vec<_>>())
}

/// 1 for a row in which all of these are there, else 0.
fn one_if_there(args: Vec<Expr>, input: &Arc<LogicalPlan>) -> Result<Expr> {
    let mut missing = None;
    for arg in args {
        if arg.nullable(input.schema())? {
            let null = arg.is_null();
            missing = Some(missing.map_or(null.clone(), |before: Expr| before.or(null)));
        }
    }
    match missing {
        Some(missing) => when(missing, lit(0_i64)).otherwise(lit(1_i64)),
        None => Ok(lit(1_i64)),
    }
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{Int64Array, RecordBatch, StringArray},
        util::pretty::pretty_format_batches,
    };
    use datafusion::{execution::session_state::SessionStateBuilder, prelude::SessionContext};

    use super::*;

    fn table() -> RecordBatch {
        let text = |values: &[Option<&str>]| -> Arc<StringArray> { Arc::new(values.to_vec().into()) };
        RecordBatch::try_from_iter([
            ("g", text(&[Some("a"), Some("a"), Some("a"), Some("b"), None, None]) as _),
            ("h", text(&[Some("x"), Some("x"), None, None, Some("y"), Some("z")]) as _),
            ("n", Arc::new(Int64Array::from(vec![Some(1), None, Some(3), None, Some(5), Some(6)])) as _),
        ])
        .unwrap()
    }

    fn session(own: bool) -> SessionContext {
        let state = SessionStateBuilder::new().with_default_features();
        let state = if own { state.with_optimizer_rules(rules()) } else { state };
        let session = SessionContext::new_with_state(state.build());
        session.register_batch("t", table()).unwrap();
        session
    }

    async fn ask(session: &SessionContext, sql: &str) -> (String, String) {
        let frame = session.sql(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let plan = frame.clone().into_optimized_plan().unwrap_or_else(|error| panic!("{sql}: {error}")).to_string();
        let rows = pretty_format_batches(&frame.collect().await.unwrap()).unwrap().to_string();
        (rows, plan)
    }

    /// Whether a plan has an aggregate over distinct values.
    fn keeps_sets(plan: &str) -> bool {
        plan.split("aggr=[[").skip(1).any(|rest| rest.split("]]").next().unwrap().contains("DISTINCT"))
    }

    #[tokio::test]
    async fn the_answer_is_the_same_and_no_set_is_kept_for_a_group() {
        for (rewritten, sql) in [
            (true, "SELECT g, count(*) c, count(DISTINCT h) d FROM t GROUP BY g ORDER BY g"),
            (
                true,
                "SELECT g, count(n) c, count(*), count(1), count(DISTINCT h) d, min(n), max(n), sum(n) FROM t GROUP BY g ORDER BY g",
            ),
            (true, "SELECT upper(g) u, n > 2, count(h), count(DISTINCT h) FROM t GROUP BY upper(g), n > 2 ORDER BY u, 2"),
            (true, "SELECT g, count(*) FROM t GROUP BY g HAVING count(*) < 3 AND count(DISTINCT h) > 0 ORDER BY g"),
            (true, "SELECT g, count(*) c, count(DISTINCT h) FROM t WHERE n > 100 GROUP BY g"),
            (false, "SELECT count(*), count(DISTINCT h) FROM t"),
            (false, "SELECT count(*), count(DISTINCT h) FROM t WHERE n > 100"),
            (false, "SELECT g, count(*), count(DISTINCT h), count(DISTINCT n) FROM t GROUP BY g ORDER BY g"),
            (false, "SELECT g, count(*), avg(n), count(DISTINCT h) FROM t GROUP BY g ORDER BY g"),
            (false, "SELECT g, count(*) FILTER (WHERE n > 2), count(DISTINCT h) FROM t GROUP BY g ORDER BY g"),
            (false, "SELECT g, h, count(*), count(DISTINCT n) FROM t GROUP BY ROLLUP (g, h) ORDER BY g, h, 3"),
        ] {
            let (own, theirs) = (ask(&session(true), sql).await, ask(&session(false), sql).await);
            assert_eq!(own.0, theirs.0, "{sql}");
            assert!(keeps_sets(&theirs.1), "the engine does this one itself: {}", theirs.1);
            assert_eq!(keeps_sets(&own.1), !rewritten, "{}", own.1);
        }
    }
}
