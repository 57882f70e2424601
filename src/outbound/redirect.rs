//! Where a redirect leads, and what the next request keeps: the rules of the Fetch standard.

use bytes::Bytes;
use reqwest::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LOCATION, CONTENT_TYPE, COOKIE,
    HeaderMap, HeaderName, HeaderValue, LOCATION, PROXY_AUTHORIZATION,
};
use reqwest::{Method, StatusCode};
use url::Url;

use super::client::Request;
use super::error::Error;

/// Headers that describe a body, gone with it.
const OF_BODY: [HeaderName; 4] =
    [CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LOCATION, CONTENT_TYPE];
/// Headers meant for one origin only.
const CREDENTIALS: [HeaderName; 3] = [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION];

/// The URL that an answer redirects to. A redirect without `Location` is an answer like any other.
pub(super) fn destination(
    from: &Url,
    status: StatusCode,
    headers: &HeaderMap,
) -> Result<Option<Url>, Error> {
    if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let Some(location) = headers.get(LOCATION) else { return Ok(None) };
    let target = std::str::from_utf8(location.as_bytes()).ok().and_then(|to| from.join(to).ok());
    match target {
        Some(url) => Ok(Some(url)),
        None => {
            Err(Error::InvalidRedirect { host: from.host_str().unwrap_or_default().to_owned() })
        }
    }
}

/// Turns a request into the one that follows an answer of this status.
pub(super) fn turn(request: &mut Request, status: StatusCode, to: Url) {
    let becomes_get = match status {
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => request.method == Method::POST,
        StatusCode::SEE_OTHER => !matches!(request.method, Method::GET | Method::HEAD),
        _ => false,
    };
    if becomes_get {
        request.method = Method::GET;
        request.body = Bytes::new();
        remove(&mut request.headers, &OF_BODY);
    }
    if request.url.origin() != to.origin() {
        remove(&mut request.headers, &CREDENTIALS);
        remove_secrets(&mut request.headers);
    }
    request.url = to;
}

/// Headers of any name whose value is marked as a secret.
fn remove_secrets(headers: &mut HeaderMap) {
    let is_secret =
        |(name, value): (&HeaderName, &HeaderValue)| value.is_sensitive().then(|| name.clone());
    let secrets: Vec<HeaderName> = headers.iter().filter_map(is_secret).collect();
    remove(headers, &secrets);
}

fn remove(headers: &mut HeaderMap, names: &[HeaderName]) {
    for name in names {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::sending::Purpose;
    use super::*;

    fn request(method: Method) -> Request {
        let mut headers = HeaderMap::new();
        for name in [AUTHORIZATION, COOKIE, CONTENT_TYPE] {
            headers.insert(name, "x".parse().unwrap());
        }
        Request {
            method,
            url: Url::parse("https://hooks.example/a/b?c#d").unwrap(),
            headers,
            body: Bytes::from_static(b"body"),
            purpose: Purpose::Call,
            connect_timeout: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            follow_redirects: true,
        }
    }

    #[test]
    fn the_method_changes_as_in_fetch() {
        let cases = [
            (301, Method::POST, Method::GET),
            (302, Method::POST, Method::GET),
            (303, Method::POST, Method::GET),
            (303, Method::PUT, Method::GET),
            (303, Method::HEAD, Method::HEAD),
            (301, Method::PUT, Method::PUT),
            (302, Method::DELETE, Method::DELETE),
            (307, Method::POST, Method::POST),
            (308, Method::POST, Method::POST),
        ];
        for (status, before, after) in cases {
            let mut request = request(before.clone());
            let to = request.url.join("/next").unwrap();
            turn(&mut request, StatusCode::from_u16(status).unwrap(), to);
            assert_eq!(request.method, after, "{status} {before}");
            let keeps_body = before == after;
            assert_eq!(request.body.is_empty(), !keeps_body, "{status} {before}");
            assert_eq!(request.headers.contains_key(CONTENT_TYPE), keeps_body);
            assert!(request.headers.contains_key(AUTHORIZATION));
        }
    }

    #[test]
    fn credentials_stay_within_their_origin() {
        let cases = [
            ("https://hooks.example/other", true),
            ("https://hooks.example:443/", true),
            ("https://hooks.example:444/", false),
            ("http://hooks.example/", false),
            ("https://www.hooks.example/", false),
        ];
        for (to, kept) in cases {
            let mut request = request(Method::GET);
            let mut secret = HeaderValue::from_static("k");
            secret.set_sensitive(true);
            request.headers.insert("x-api-key", secret);
            turn(&mut request, StatusCode::FOUND, Url::parse(to).unwrap());
            assert_eq!(request.headers.contains_key("x-api-key"), kept, "{to}");
            assert_eq!(request.headers.contains_key(AUTHORIZATION), kept, "{to}");
            assert_eq!(request.headers.contains_key(COOKIE), kept, "{to}");
        }
    }

    #[test]
    fn a_location_is_read_relative_to_the_url_that_sent_it() {
        let from = Url::parse("https://hooks.example/a/b?c").unwrap();
        let to = |status: u16, location: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(LOCATION, location.try_into().unwrap());
            let found = destination(&from, StatusCode::from_u16(status).unwrap(), &headers);
            found.map(|url| url.map(String::from))
        };
        assert_eq!(to(302, b"c").unwrap().as_deref(), Some("https://hooks.example/a/c"));
        assert_eq!(to(308, b"//127.1/").unwrap().as_deref(), Some("https://127.0.0.1/"));
        assert_eq!(to(304, b"c").unwrap(), None);
        assert_eq!(to(200, b"c").unwrap(), None);
        for broken in [b"http://[".as_slice(), b"\xff"] {
            assert!(matches!(to(302, broken), Err(Error::InvalidRedirect { .. })));
        }
        assert_eq!(destination(&from, StatusCode::FOUND, &HeaderMap::new()).unwrap(), None);
    }
}
