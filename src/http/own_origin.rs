//! Origins that are the server's own: browsers leave the default port out, proxies write it or tell another `Host`, and the layer that
//! refuses pages of other origins compares byte by byte. What is its own is written as that layer compares it.

use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderValue, Uri, header};

/// Writes the origin of a request in the form of the host that was called, if it is the same one, or one of `names`.
pub(super) fn settle(request: &mut Request, names: &[String]) {
    if request.method().is_safe() {
        return;
    }
    let Some(own) = own(request, names) else { return };
    request.headers_mut().insert(header::ORIGIN, own);
}

fn own(request: &Request, names: &[String]) -> Option<HeaderValue> {
    let headers = request.headers();
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let (Some(origin), None) = (origins.next(), origins.next()) else { return None };
    let origin = Uri::try_from(origin.as_bytes()).ok()?;
    let default_port = match origin.scheme_str()? {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let called = match request.uri().authority() {
        Some(authority) => authority.clone(),
        None => Authority::try_from(headers.get(header::HOST)?.as_bytes()).ok()?,
    };
    let (origin, port) =
        (origin.authority()?, |it: &Authority| it.port_u16().unwrap_or(default_port));
    let is_called =
        origin.host().eq_ignore_ascii_case(called.host()) && port(origin) == port(&called);
    // Behind a proxy the browser knows the server by a name that an operator gave it, and by the proxy's port.
    let is_named = names.iter().any(|name| name.eq_ignore_ascii_case(origin.host()));
    let is_own = !origin.as_str().contains('@') && (is_called || is_named);
    let own = || HeaderValue::try_from(format!("http://{called}")).ok();
    is_own.then(own).flatten()
}
