//! The report's frame. Rows go between [`HEAD`] and [`MIDDLE`], facts between [`MIDDLE`] and [`TAIL`], both as JSON.

/// Everything before the rows.
pub(super) const HEAD: &str = concat!(
    "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n",
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n",
    "<title>Reeve scan report</title>\n<style>\n",
    include_str!("report.css"),
    "</style>\n</head>\n<body>\n",
    include_str!("report.html"),
    "<script type=\"application/json\" id=\"rows\">[\n",
);
/// Between rows and facts.
pub(super) const MIDDLE: &str = "\n]</script>\n<script type=\"application/json\" id=\"facts\">";
/// Everything after the facts.
pub(super) const TAIL: &str = concat!("</script>\n<script>\n", include_str!("report.js"), "</script>\n</body>\n</html>\n");
