//! Which addresses are public: the tables of the IANA special-purpose registries, narrowed.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// A range of addresses that is denied, and what it is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Class {
    network: IpNet,
    meaning: &'static str,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}", self.network, self.meaning)
    }
}

impl fmt::Debug for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Class({self})")
    }
}

const DENIED_V4: [Class; 16] = [
    v4([0, 0, 0, 0], 8, "\"this network\""),
    v4([10, 0, 0, 0], 8, "for private use"),
    v4([100, 64, 0, 0], 10, "shared by carriers"),
    v4([127, 0, 0, 0], 8, "loopback"),
    // The metadata services of most clouds (169.254.169.254) lie here.
    v4([169, 254, 0, 0], 16, "link-local"),
    v4([172, 16, 0, 0], 12, "for private use"),
    v4([192, 0, 0, 0], 24, "for protocol assignments"),
    v4([192, 0, 2, 0], 24, "for documentation"),
    v4([192, 88, 99, 0], 24, "the former 6to4 relay"),
    v4([192, 168, 0, 0], 16, "for private use"),
    v4([198, 18, 0, 0], 15, "for benchmarks"),
    v4([198, 51, 100, 0], 24, "for documentation"),
    v4([203, 0, 113, 0], 24, "for documentation"),
    v4([224, 0, 0, 0], 4, "multicast"),
    v4([240, 0, 0, 0], 4, "reserved"),
    // A public address by the registries, yet it answers inside every Azure network.
    v4([168, 63, 129, 16], 32, "the host of an Azure machine"),
];

/// The last one holds whatever no other one names: see `PUBLIC_V6`.
const DENIED_V6: [Class; 10] = [
    v6([0, 0, 0, 0, 0, 0, 0, 0], 128, "unspecified"),
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128, "loopback"),
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "unique local"),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, "link-local"),
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, "multicast"),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, "for protocol assignments"),
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, "for documentation"),
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, "6to4, which hides an IPv4 address"),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, "for documentation"),
    ELSEWHERE_V6,
];

const ELSEWHERE_V6: Class =
    v6([0, 0, 0, 0, 0, 0, 0, 0], 0, "IPv6, of which only 2000::/3 is public");
const PUBLIC_V6: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
/// NAT64 (RFC 6052): the last 32 bits are the IPv4 address that a gateway will connect to.
const NAT64: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);

/// The class that denies this address, or nothing when it is public.
pub(super) fn denied_class(ip: IpAddr) -> Option<Class> {
    match ip {
        IpAddr::V4(ip) => denied_v4(ip),
        IpAddr::V6(ip) => match embedded_v4(ip) {
            Some(inner) => denied_v4(inner),
            None => denied_v6(ip),
        },
    }
}

fn denied_v4(ip: Ipv4Addr) -> Option<Class> {
    DENIED_V4.into_iter().find(|class| class.network.contains(&IpAddr::V4(ip)))
}

fn denied_v6(ip: Ipv6Addr) -> Option<Class> {
    let class = DENIED_V6.into_iter().find(|class| class.network.contains(&IpAddr::V6(ip)))?;
    (class != ELSEWHERE_V6 || !PUBLIC_V6.contains(&ip)).then_some(class)
}

fn embedded_v4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let [.., a, b, c, d] = ip.octets();
    ip.to_ipv4_mapped().or_else(|| NAT64.contains(&ip).then_some(Ipv4Addr::new(a, b, c, d)))
}

const fn v4(octets: [u8; 4], prefix: u8, meaning: &'static str) -> Class {
    let [a, b, c, d] = octets;
    let network = Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix);
    Class { network: IpNet::V4(network), meaning }
}

const fn v6(segments: [u16; 8], prefix: u8, meaning: &'static str) -> Class {
    let [a, b, c, d, e, f, g, h] = segments;
    let network = Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix);
    Class { network: IpNet::V6(network), meaning }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn class_of(text: &str) -> Option<String> {
        denied_class(text.parse().unwrap()).map(|class| class.network.to_string())
    }

    /// Range, its first and last address, and the public neighbours on both sides ("" where the
    /// neighbour is denied as well).
    const EDGES: [(&str, &str, &str, &str, &str); 19] = [
        ("0.0.0.0/8", "0.0.0.0", "0.255.255.255", "", "1.0.0.0"),
        ("10.0.0.0/8", "10.0.0.0", "10.255.255.255", "9.255.255.255", "11.0.0.0"),
        ("100.64.0.0/10", "100.64.0.0", "100.127.255.255", "100.63.255.255", "100.128.0.0"),
        ("127.0.0.0/8", "127.0.0.0", "127.255.255.255", "126.255.255.255", "128.0.0.0"),
        ("169.254.0.0/16", "169.254.0.0", "169.254.255.255", "169.253.255.255", "169.255.0.0"),
        ("172.16.0.0/12", "172.16.0.0", "172.31.255.255", "172.15.255.255", "172.32.0.0"),
        ("192.0.0.0/24", "192.0.0.0", "192.0.0.255", "191.255.255.255", "192.0.1.0"),
        ("192.0.2.0/24", "192.0.2.0", "192.0.2.255", "192.0.1.255", "192.0.3.0"),
        ("192.88.99.0/24", "192.88.99.0", "192.88.99.255", "192.88.98.255", "192.88.100.0"),
        ("192.168.0.0/16", "192.168.0.0", "192.168.255.255", "192.167.255.255", "192.169.0.0"),
        ("198.18.0.0/15", "198.18.0.0", "198.19.255.255", "198.17.255.255", "198.20.0.0"),
        ("198.51.100.0/24", "198.51.100.0", "198.51.100.255", "198.51.99.255", "198.51.101.0"),
        ("203.0.113.0/24", "203.0.113.0", "203.0.113.255", "203.0.112.255", "203.0.114.0"),
        ("224.0.0.0/4", "224.0.0.0", "239.255.255.255", "223.255.255.255", ""),
        ("240.0.0.0/4", "240.0.0.0", "255.255.255.255", "", ""),
        ("168.63.129.16/32", "168.63.129.16", "168.63.129.16", "168.63.129.15", "168.63.129.17"),
        ("2001::/23", "2001::", "2001:1ff:ffff::ffff", "2000:ffff::1", "2001:200::"),
        ("2001:db8::/32", "2001:db8::", "2001:db8:ffff::1", "2001:db7:ffff::1", "2001:db9::"),
        ("2002::/16", "2002::", "2002:ffff::1", "2001:ffff::1", "2003::"),
    ];

    #[test]
    fn each_range_is_denied_at_both_edges_and_its_neighbours_are_public() {
        for (range, first, last, before, after) in EDGES {
            for inside in [first, last] {
                assert_eq!(class_of(inside).as_deref(), Some(range), "{inside}");
            }
            for outside in [before, after].into_iter().filter(|text| !text.is_empty()) {
                assert_eq!(class_of(outside), None, "{outside}");
            }
        }
    }

    #[test]
    fn of_ipv6_only_global_unicast_is_public() {
        let denied = [
            ("::", "::/128"),
            ("::1", "::1/128"),
            ("::2", "::/0"),
            ("::7f00:1", "::/0"),
            ("64:ff9b:1::a00:1", "::/0"),
            ("100::1", "::/0"),
            ("1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::/0"),
            ("3fff::", "3fff::/20"),
            ("3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff::/20"),
            ("4000::", "::/0"),
            ("5f00::1", "::/0"),
            ("fbff::1", "::/0"),
            ("fc00::", "fc00::/7"),
            ("fdff:ffff::1", "fc00::/7"),
            ("fe80::1", "fe80::/10"),
            ("fec0::1", "::/0"),
            ("ff02::1", "ff00::/8"),
        ];
        for (text, range) in denied {
            assert_eq!(class_of(text).as_deref(), Some(range), "{text}");
        }
        for text in ["2000::", "2606:4700::1111", "3ffe::1", "3fff:1000::"] {
            assert_eq!(class_of(text), None, "{text}");
        }
    }

    #[test]
    fn a_class_says_its_range_and_its_meaning() {
        let class = denied_class(IpAddr::from([127, 0, 0, 1])).unwrap();
        assert_eq!(class.to_string(), "127.0.0.0/8 is loopback");
    }

    proptest! {
        #[test]
        fn nothing_within_a_denied_range_is_public(range in 0..DENIED_V4.len(), bits: u32) {
            let IpNet::V4(network) = DENIED_V4[range].network else { unreachable!() };
            let host = bits & u32::from(network.hostmask());
            let inside = Ipv4Addr::from(u32::from(network.network()) | host);
            prop_assert!(denied_class(IpAddr::V4(inside)).is_some());
            prop_assert!(denied_class(IpAddr::V6(inside.to_ipv6_mapped())).is_some());
        }

        #[test]
        fn nothing_within_a_denied_ipv6_range_is_public(
            range in 0..DENIED_V6.len() - 1,
            bits: u128,
        ) {
            let IpNet::V6(network) = DENIED_V6[range].network else { unreachable!() };
            let host = bits & u128::from(network.hostmask());
            let inside = Ipv6Addr::from(u128::from(network.network()) | host);
            prop_assert!(denied_class(IpAddr::V6(inside)).is_some());
        }

        #[test]
        fn an_embedded_ipv4_address_is_judged_as_itself(bits: u32) {
            let plain = denied_class(IpAddr::V4(Ipv4Addr::from(bits)));
            for prefix in [0xffff_u128 << 32, 0x64_ff9b_u128 << 96] {
                let wrapped = Ipv6Addr::from(prefix | u128::from(bits));
                prop_assert_eq!(denied_class(IpAddr::V6(wrapped)), plain);
            }
        }

        #[test]
        fn what_the_standard_library_calls_special_is_denied(bits: u32) {
            let ip = Ipv4Addr::from(bits);
            let special = ip.is_private() || ip.is_loopback() || ip.is_link_local();
            let special = special || ip.is_multicast() || ip.is_documentation();
            let special = special || ip.is_broadcast() || ip.is_unspecified();
            prop_assert!(!special || denied_class(IpAddr::V4(ip)).is_some());
        }

        #[test]
        fn no_ipv6_address_outside_global_unicast_is_public(bits: u128) {
            let ip = Ipv6Addr::from(bits);
            let embeds = embedded_v4(ip).is_some();
            prop_assert!(bits >> 125 == 1 || embeds || denied_class(IpAddr::V6(ip)).is_some());
        }
    }
}
