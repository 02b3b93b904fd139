use std::{collections::HashMap, sync::LazyLock};

use crate::{
    mapping::compile,
    schema::{Kind as SchemaKind, classes},
};

/// An OCSF attribute that tables carry as a column of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Column {
    /// The column's name, as in `process_cmd_line`.
    pub name: &'static str,
    /// The attribute's path, as in `process.cmd_line`.
    pub path: &'static str,
    /// What it holds.
    pub kind: Kind,
}

/// What a promoted column holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// UTF-8 text
    Text,
    /// 64-bit signed
    Integer,
    /// milliseconds since 1970, UTC
    Timestamp,
    /// true or false
    Boolean,
}

const fn text(name: &'static str, path: &'static str) -> Column {
    Column { name, path, kind: Kind::Text }
}

const fn integer(name: &'static str, path: &'static str) -> Column {
    Column { name, path, kind: Kind::Integer }
}

/// The attributes worth a column: what people search, filter and group by. Columns are only ever added, at the end.
pub const PROMOTED: &[Column] = &[
    text("device_hostname", "device.hostname"),
    text("metadata_event_code", "metadata.event_code"),
    text("metadata_log_name", "metadata.log_name"),
    text("metadata_product_name", "metadata.product.name"),
    text("actor_user_name", "actor.user.name"),
    text("actor_user_uid", "actor.user.uid"),
    text("actor_user_domain", "actor.user.domain"),
    text("actor_session_uid", "actor.session.uid"),
    text("actor_process_name", "actor.process.name"),
    integer("actor_process_pid", "actor.process.pid"),
    text("actor_process_uid", "actor.process.uid"),
    text("actor_process_file_path", "actor.process.file.path"),
    text("actor_process_cmd_line", "actor.process.cmd_line"),
    text("process_name", "process.name"),
    integer("process_pid", "process.pid"),
    text("process_uid", "process.uid"),
    text("process_file_path", "process.file.path"),
    text("process_cmd_line", "process.cmd_line"),
    text("process_working_directory", "process.working_directory"),
    text("process_user_name", "process.user.name"),
    text("process_integrity", "process.integrity"),
    integer("process_parent_process_pid", "process.parent_process.pid"),
    text("process_parent_process_uid", "process.parent_process.uid"),
    text("process_parent_process_name", "process.parent_process.name"),
    text("process_parent_process_file_path", "process.parent_process.file.path"),
    text("process_parent_process_cmd_line", "process.parent_process.cmd_line"),
    text("user_name", "user.name"),
    text("user_uid", "user.uid"),
    text("user_domain", "user.domain"),
    text("group_name", "group.name"),
    text("src_endpoint_ip", "src_endpoint.ip"),
    integer("src_endpoint_port", "src_endpoint.port"),
    text("src_endpoint_hostname", "src_endpoint.hostname"),
    text("dst_endpoint_ip", "dst_endpoint.ip"),
    integer("dst_endpoint_port", "dst_endpoint.port"),
    text("dst_endpoint_hostname", "dst_endpoint.hostname"),
    text("session_uid", "session.uid"),
    text("auth_protocol", "auth_protocol"),
    text("logon_type", "logon_type"),
    text("service_name", "service.name"),
    text("file_path", "file.path"),
    text("file_name", "file.name"),
    text("query_hostname", "query.hostname"),
    text("query_type", "query.type"),
    text("rcode", "rcode"),
    text("http_request_url_path", "http_request.url.path"),
    text("http_request_url_query_string", "http_request.url.query_string"),
    text("http_request_url_hostname", "http_request.url.hostname"),
    text("http_request_http_method", "http_request.http_method"),
    text("http_request_user_agent", "http_request.user_agent"),
    text("http_request_referrer", "http_request.referrer"),
    integer("http_response_code", "http_response.code"),
    text("connection_info_protocol_name", "connection_info.protocol_name"),
    text("connection_info_direction", "connection_info.direction"),
    text("connection_info_uid", "connection_info.uid"),
    integer("traffic_bytes_in", "traffic.bytes_in"),
    integer("traffic_bytes_out", "traffic.bytes_out"),
    integer("traffic_bytes", "traffic.bytes"),
    text("tls_sni", "tls.sni"),
    text("reg_key_path", "reg_key.path"),
    text("reg_value_path", "reg_value.path"),
    text("reg_value_name", "reg_value.name"),
    text("reg_value_data", "reg_value.data"),
    text("module_file_path", "module.file.path"),
    text("driver_file_path", "driver.file.path"),
    text("win_service_name", "win_service.name"),
    text("win_service_cmd_line", "win_service.cmd_line"),
    text("job_name", "job.name"),
    text("job_cmd_line", "job.cmd_line"),
    text("script_script_content_value", "script.script_content.value"),
    text("api_operation", "api.operation"),
    text("api_service_name", "api.service.name"),
    text("cloud_account_uid", "cloud.account.uid"),
    text("cloud_region", "cloud.region"),
    text("finding_info_title", "finding_info.title"),
    text("message", "message"),
    text("status_detail", "status_detail"),
    text("file_result_path", "file_result.path"),
    text("app_name", "app.name"),
];

/// Observable types of the columns' values, by path.
static OBSERVABLES: LazyLock<HashMap<&'static str, u32>> = LazyLock::new(|| {
    let type_of = |column: &Column| {
        let attribute = classes().iter().find_map(|class| class.attribute(column.path))?;
        Some((column.path, compile::observable(attribute)?))
    };
    PROMOTED.iter().filter_map(type_of).collect()
});

impl Column {
    /// The OCSF observable `type_id` of its values, `None` where the schema makes them no observable.
    pub fn observable(&self) -> Option<u32> {
        OBSERVABLES.get(self.path).copied()
    }

    /// The column of that flat name or attribute path.
    pub fn find(name: &str) -> Option<&'static Column> {
        PROMOTED.iter().find(|column| column.name == name || column.path == name)
    }
}

impl From<SchemaKind> for Kind {
    fn from(kind: SchemaKind) -> Self {
        match kind {
            SchemaKind::Boolean => Kind::Boolean,
            SchemaKind::Integer | SchemaKind::Port => Kind::Integer,
            SchemaKind::Timestamp => Kind::Timestamp,
            _ => Kind::Text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::classes;

    #[test]
    fn every_column_is_an_attribute_of_that_type() {
        for column in PROMOTED {
            let attribute =
                classes().iter().find_map(|class| class.attribute(column.path)).unwrap_or_else(|| panic!("{}", column.path));
            assert_eq!(Kind::from(attribute.kind), column.kind, "{}", column.path);
            assert_eq!(column.name, column.path.replace('.', "_"), "flat name");
            assert!(!attribute.array, "{}", column.path);
        }
    }

    #[test]
    fn no_two_columns_share_a_name() {
        let names: std::collections::HashSet<_> = PROMOTED.iter().map(|column| column.name).collect();
        assert_eq!(names.len(), PROMOTED.len());
    }
}
