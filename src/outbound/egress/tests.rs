//! The policy as tables: what is denied in every spelling, and what the operator can permit.

use proptest::prelude::*;

use super::*;

fn policy(allow: &[&str], allow_loopback: bool, own: &[&str]) -> Policy {
    let allow = allow.iter().map(|entry| entry.parse().unwrap()).collect();
    let own = own.iter().map(|address| address.parse().unwrap()).collect();
    Policy::new(&Config { allow, allow_loopback }, own)
}

fn denial(policy: &Policy, url: &str) -> Denied {
    match policy.check_url(url) {
        Ok(parsed) => panic!("{url} is permitted as {parsed}"),
        Err(denied) => denied,
    }
}

#[test]
fn a_denied_literal_is_denied_in_every_spelling() {
    let strict = policy(&[], false, &[]);
    let hosts = [
        "127.0.0.1",
        "127.0.0.1.",
        "127.1",
        "0x7f.1",
        "0x7F.0x0.0x0.0x1",
        "0177.0.0.1",
        "017700000001",
        "2130706433",
        "0x7f000001",
        "%31%32%37.0.0.1",
        "１２７.0.0.1",
        "127。0。0。1",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::127.0.0.1]",
        "[::127.0.0.1]",
        "[2002:7f00:1::]",
        "0.0.0.0",
        "0",
        "[::]",
        "169.254.169.254",
        "2852039166",
        "0xa9fea9fe",
        "[fd00:ec2::254]",
        "10.1",
        "168.63.129.16",
    ];
    for host in hosts {
        for url in [format!("http://{host}/"), format!("https://{host}:8443/x?y")] {
            let denied = denial(&strict, &url);
            assert!(matches!(denied, Denied::Address { host: None, .. }), "{url}: {denied}");
            assert!(denied.is_policy());
        }
    }
}

#[test]
fn a_local_name_is_denied_in_every_spelling() {
    let strict = policy(&[], false, &[]);
    let hosts = [
        "localhost",
        "localhost.",
        "localhost..",
        "LOCALHOST",
        "ｌｏｃａｌｈｏｓｔ",
        "local%68ost",
        "api.localhost",
        "foo.local",
        "foo.LOCAL.",
        "foo.internal",
        "metadata.google.internal",
        "internal",
    ];
    for host in hosts {
        let denied = denial(&strict, &format!("http://{host}/"));
        assert!(matches!(denied, Denied::Name { port: 80, .. }), "{host}: {denied}");
        assert!(denied.is_policy());
    }
}

#[test]
fn an_unfit_url_is_invalid_rather_than_denied() {
    let open = policy(&["127.0.0.1:80"], true, &[]);
    let cases = [
        ("", Denied::InvalidUrl(url::ParseError::RelativeUrlWithoutBase)),
        ("/path", Denied::InvalidUrl(url::ParseError::RelativeUrlWithoutBase)),
        ("http://", Denied::InvalidUrl(url::ParseError::EmptyHost)),
        ("http://./", Denied::InvalidUrl(url::ParseError::EmptyHost)),
        ("http://1.2.3.256/", Denied::InvalidUrl(url::ParseError::InvalidIpv4Address)),
        ("http://example.com:99999/", Denied::InvalidUrl(url::ParseError::InvalidPort)),
        ("http://example.com:0/", Denied::InvalidPort),
        ("file:///etc/passwd", Denied::InvalidScheme { scheme: "file".to_owned() }),
        ("ftp://example.com/", Denied::InvalidScheme { scheme: "ftp".to_owned() }),
        ("gopher://127.0.0.1/", Denied::InvalidScheme { scheme: "gopher".to_owned() }),
        ("data:,x", Denied::InvalidScheme { scheme: "data".to_owned() }),
        ("http://user@127.0.0.1/", Denied::InvalidUserinfo),
        ("http://:secret@127.0.0.1/", Denied::InvalidUserinfo),
        ("http://example.com@127.0.0.1/", Denied::InvalidUserinfo),
    ];
    for (url, expected) in cases {
        let denied = denial(&open, url);
        assert_eq!(denied, expected, "{url}");
        assert!(!denied.is_policy());
    }
}

#[test]
fn a_public_url_passes() {
    let strict = policy(&[], false, &["0.0.0.0:8080"]);
    let urls = [
        "https://hooks.example.com/a?b#c",
        "http://1.1.1.1/",
        "https://[2606:4700::1111]:8443/",
        "https://localhost.example.com/",
        "https://notlocalhost/",
        "https://mylocal/",
        "HTTPS://Hooks.Example.COM./",
        "https://[64:ff9b::101:101]/",
    ];
    for url in urls {
        assert_eq!(strict.check_url(url).map(String::from), Ok(Url::parse(url).unwrap().into()));
    }
}

#[test]
fn loopback_is_permitted_at_every_port_but_the_own() {
    let development = policy(&[], true, &["127.0.0.1:8080"]);
    for host in
        ["127.0.0.1", "127.255.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost", "a.localhost."]
    {
        assert!(development.check_url(&format!("http://{host}:9000/")).is_ok(), "{host}");
    }
    for host in ["127.0.0.1", "127.9.9.9", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]"] {
        let denied = denial(&development, &format!("http://{host}:8080/"));
        assert!(matches!(denied, Denied::Own { .. }), "{host}: {denied}");
        assert!(denied.is_policy());
    }
    for host in ["0.0.0.0", "[::]", "10.0.0.1", "[64:ff9b::127.0.0.1]", "foo.local"] {
        denial(&development, &format!("http://{host}:9000/"));
    }
}

#[test]
fn the_own_address_is_denied_even_when_the_operator_permits_it() {
    let careless = policy(&["10.0.0.1:8080", "hooks.corp.example:8080"], false, &["10.0.0.1:8080"]);
    let own = "10.0.0.1:8080".parse().unwrap();
    for host in [None, Some("hooks.corp.example")] {
        let denied = careless.check_address(host, own).unwrap_err();
        assert!(matches!(denied, Denied::Own { .. }), "{denied}");
    }
    // Listening on all addresses means every address of this machine, and none of others.
    let everywhere = policy(&["0.0.0.0/0:8080"], true, &["[::]:8080"]);
    for (address, permitted) in [("127.0.0.1:8080", false), ("198.51.100.1:8080", true)] {
        let outcome = everywhere.check_address(None, address.parse().unwrap());
        assert_eq!(outcome.is_ok(), permitted, "{address}: {outcome:?}");
    }
}

#[test]
fn an_entry_permits_its_own_port_and_nothing_else() {
    let entries = ["127.0.0.1:9000", "[fd00::/8]:443", "10.1.2.0/24:443", "hooks.internal:443"];
    let policy = policy(&entries, false, &[]);
    let cases = [
        ("http://127.0.0.1:9000/", true),
        ("http://127.1:9000/", true),
        ("http://[::ffff:127.0.0.1]:9000/", true),
        ("http://127.0.0.2:9000/", false),
        ("http://127.0.0.1:9001/", false),
        ("http://localhost:9000/", false),
        ("http://[64:ff9b::127.0.0.1]:9000/", false),
        ("https://10.1.2.0/", true),
        ("https://10.1.2.255/", true),
        ("https://10.1.3.0/", false),
        ("https://10.1.1.255/", false),
        ("http://10.1.2.0/", false),
        ("https://[fd12::1]/", true),
        ("https://[fc12::1]/", false),
        ("https://hooks.internal/", true),
        ("https://HOOKS.internal./", true),
        ("http://hooks.internal/", false),
        ("https://other.hooks.internal/", false),
    ];
    for (url, permitted) in cases {
        let outcome = policy.check_url(url);
        assert_eq!(outcome.is_ok(), permitted, "{url}: {outcome:?}");
    }
}

#[test]
fn an_address_behind_a_name_is_judged_as_itself_unless_an_entry_names_the_name() {
    let policy = policy(&["127.0.0.1:9000", "hooks.corp.example:443"], false, &[]);
    let cases = [
        ("hooks.corp.example", "10.0.0.1:443", true),
        ("hooks.corp.example.", "10.0.0.1:443", true),
        ("hooks.corp.example", "10.0.0.1:80", false),
        ("evil.example", "10.0.0.1:443", false),
        ("evil.example", "127.0.0.1:9000", true),
        ("evil.example", "127.0.0.1:80", false),
        ("evil.example", "1.1.1.1:80", true),
    ];
    for (host, address, permitted) in cases {
        let outcome = policy.check_address(Some(host), address.parse().unwrap());
        assert_eq!(outcome.is_ok(), permitted, "{host} {address}: {outcome:?}");
    }
}

#[test]
fn a_denial_says_the_class_and_what_an_operator_can_do() {
    let strict = policy(&[], false, &["127.0.0.1:8080"]);
    let cases = [
        (
            "http://0x7f.1:9000/",
            "127.0.0.1:9000 is denied: 127.0.0.0/8 is loopback; an operator can permit it by \
             egress.allow = [\"127.0.0.1:9000\"] or --allow-loopback-egress",
        ),
        (
            "https://[fd00::1]/",
            "[fd00::1]:443 is denied: fc00::/7 is unique local; an operator can permit it by \
             egress.allow = [\"[fd00::1]:443\"]",
        ),
        (
            "http://localhost./",
            "localhost. is denied: names that end in localhost, local or internal are not public; \
             an operator can permit it by egress.allow = [\"localhost:80\"] or \
             --allow-loopback-egress",
        ),
        ("http://127.0.0.1:8080/", "127.0.0.1:8080 is denied: the server does not call itself"),
    ];
    for (url, message) in cases {
        assert_eq!(denial(&strict, url).to_string(), message);
    }
}

#[test]
fn a_denied_name_does_not_tell_what_it_resolves_to() {
    let strict = policy(&[], false, &[]);
    let address = "10.20.30.40:0".parse().unwrap();
    let denied = strict.check_address(Some("db.corp.example"), address).unwrap_err();
    assert_eq!(
        denied.at_port(443).to_string(),
        "an address of db.corp.example is denied: 10.0.0.0/8 is for private use; an operator can \
         permit it by egress.allow = [\"db.corp.example:443\"]"
    );
}

proptest! {
    #[test]
    fn an_address_of_a_denied_class_is_never_permitted(
        ip in prop_oneof![
            any::<u32>().prop_map(|bits| IpAddr::from(bits.to_be_bytes())),
            any::<u128>().prop_map(|bits| IpAddr::from(bits.to_be_bytes())),
        ],
        port in 1_u16..,
    ) {
        let strict = policy(&[], false, &[]);
        let address = SocketAddr::new(ip, port);
        let denied = denied_class(ip).is_some();
        prop_assert_eq!(strict.check_address(None, address).is_err(), denied);
        prop_assert_eq!(strict.check_address(Some("a.example"), address).is_err(), denied);
        prop_assert_eq!(strict.check_url(&format!("http://{address}/")).is_err(), denied);
    }

    #[test]
    fn a_number_as_host_is_the_address_it_means(bits: u32, port in 1_u16..) {
        let strict = policy(&[], false, &[]);
        let denied = denied_class(IpAddr::from(bits.to_be_bytes())).is_some();
        for host in [format!("{bits}"), format!("{bits:#x}"), format!("0{bits:o}")] {
            prop_assert_eq!(strict.check_url(&format!("http://{host}:{port}/")).is_err(), denied);
        }
    }

    #[test]
    fn no_text_passes_unless_it_parses_to_an_http_url(text: String) {
        if let Ok(url) = policy(&[], true, &[]).check_url(&text) {
            prop_assert!(matches!(url.scheme(), "http" | "https"));
        }
    }
}

#[test]
fn an_address_of_this_machine_is_denied_though_it_is_public_unless_an_operator_permits_it() {
    let own: [IpAddr; 2] = ["93.184.215.14".parse().unwrap(), "2606:2800:21f::14".parse().unwrap()];
    for address in own {
        let of_this_machine = |allow: &[&str]| Policy {
            is_of_this_machine: |ip| {
                ["93.184.215.14", "2606:2800:21f::14"].contains(&&*ip.to_string())
            },
            ..policy(allow, true, &[])
        };
        let there = SocketAddr::new(address, 443);
        let denied = denial(&of_this_machine(&[]), &format!("https://{there}/"));
        assert!(matches!(denied, Denied::Machine { host: None, .. }), "{denied}");
        assert!(denied.is_policy());
        let told = denied.to_string();
        assert!(told.contains("this machine's own") && told.contains(&there.to_string()), "{told}");
        let named = of_this_machine(&[]).check_address(Some("us.example"), there).unwrap_err();
        assert!(!named.to_string().contains(&address.to_string()), "{named}");
        let allowed = of_this_machine(&[&there.to_string()]);
        assert_eq!(allowed.check_address(None, there), Ok(()));
        assert_eq!(policy(&[], false, &[]).check_address(None, there), Ok(()), "another machine");
    }
}

#[test]
fn the_kernel_knows_which_addresses_are_of_this_machine() {
    assert!(is_of_this_machine(IpAddr::from([127, 0, 0, 1])));
    assert!(!is_of_this_machine(IpAddr::from([93, 184, 215, 14])));
    assert!(!is_of_this_machine("2606:2800:21f::14".parse().unwrap()));
}
