//! Who is taken for the client, and what backends get, by policy.

use super::*;

fn client(trusted: &[&str], peer: &str, forwarded: &[&str]) -> String {
    let trusted: Vec<IpNet> = trusted.iter().map(|net| net.parse().unwrap()).collect();
    let mut headers = HeaderMap::new();
    for line in forwarded {
        headers.append(FOR, line.parse().unwrap());
    }
    let mut ctx = Ctx::new();
    identify(&mut ctx, Some(peer.parse().unwrap()), &headers, &trusted, &ForwardedHeaders::default());
    ctx.client().unwrap().to_string()
}

/// The client, and what a backend gets of the headers named, behind a peer that is trusted or not.
fn told(trusted: bool, policy: ForwardedHeaders, sent: &[(&'static str, &str)]) -> (String, Vec<String>) {
    let nets: Vec<IpNet> = if trusted { vec!["10.0.0.0/8".parse().unwrap()] } else { Vec::new() };
    let mut header = RequestHeader::build("GET", b"/", None).unwrap();
    header.insert_header("host", "shop.example:8080").unwrap();
    for (name, value) in sent {
        header.append_header(*name, *value).unwrap();
    }
    let (mut ctx, peer) = (Ctx::new(), Some("10.0.0.1".parse().unwrap()));
    identify(&mut ctx, peer, &header.headers, &nets, &policy);
    let mut request = header.clone();
    tell(&mut request, &ctx, &Received { peer, tls: false, header: &header }, &policy).unwrap();
    let names = [FOR, PROTO, HOST, PORT, FORWARDED, REAL_IP];
    let values = names.iter().flat_map(|name| {
        let lines = request.headers.get_all(name).iter();
        lines.map(move |value| format!("{name}: {}", value.to_str().unwrap()))
    });
    (ctx.client().unwrap().to_string(), values.collect())
}

const SENT: [(&str, &str); 6] = [
    ("x-forwarded-for", "203.0.113.9"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "public.example"),
    ("x-forwarded-port", "443"),
    ("forwarded", "for=198.51.100.7"),
    ("x-real-ip", "203.0.113.9"),
];

fn all(told: Told) -> ForwardedHeaders {
    let single = if told == Told::Append { Told::Set } else { told };
    ForwardedHeaders { x_forwarded: told, x_forwarded_port: single, forwarded: told, x_real_ip: single }
}

#[test]
fn nothing_of_a_strangers_passes_whatever_the_policy() {
    let ours = [
        "x-forwarded-for: 10.0.0.1",
        "x-forwarded-proto: http",
        "x-forwarded-host: shop.example:8080",
        "x-forwarded-port: 8080",
        "forwarded: for=10.0.0.1;host=\"shop.example:8080\";proto=http",
        "x-real-ip: 10.0.0.1",
    ];
    for (policy, expected) in
        [(all(Told::Append), &ours[..]), (all(Told::Set), &ours), (all(Told::Keep), &[]), (all(Told::Drop), &[])]
    {
        for sent in [&SENT[..], &[]] {
            let (client, headers) = told(false, policy, sent);
            assert_eq!((client.as_str(), headers), ("10.0.0.1", expected.iter().map(ToString::to_string).collect()));
        }
    }
    assert_eq!(told(false, ForwardedHeaders::default(), &SENT).1, ours[..3]);
}

#[test]
fn a_trusted_peers_are_added_to_replaced_kept_or_dropped() {
    let (client, headers) = told(true, all(Told::Append), &SENT);
    assert_eq!(client, "198.51.100.7", "of Forwarded, if that is added to");
    assert_eq!(
        headers,
        [
            "x-forwarded-for: 203.0.113.9, 10.0.0.1",
            "x-forwarded-proto: https",
            "x-forwarded-host: public.example",
            "x-forwarded-port: 8080",
            "forwarded: for=198.51.100.7, for=10.0.0.1;host=\"shop.example:8080\";proto=http",
            "x-real-ip: 198.51.100.7",
        ]
    );
    let (client, headers) = told(true, all(Told::Set), &SENT);
    assert_eq!(client, "203.0.113.9");
    assert_eq!((headers[0].as_str(), headers[1].as_str()), ("x-forwarded-for: 10.0.0.1", "x-forwarded-proto: http"));
    assert_eq!(headers[5], "x-real-ip: 203.0.113.9");
    let kept: Vec<_> = SENT.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    assert_eq!(told(true, all(Told::Keep), &SENT).1, kept);
    assert_eq!(told(true, all(Told::Keep), &[]).1, [""; 0]);
    assert_eq!(told(true, all(Told::Drop), &SENT).1, [""; 0]);
}

#[test]
fn the_client_of_forwarded() {
    let policy = ForwardedHeaders { forwarded: Told::Append, ..Default::default() };
    for (lines, client) in [
        (&["for=203.0.113.9"][..], "203.0.113.9"),
        (&["for=1.1.1.1, for=203.0.113.9;proto=https, for=10.9.9.9"], "203.0.113.9"),
        (&["for=1.1.1.1", "for=\"[2001:db8::1]:80\"", "for=\"10.9.9.9:80\""], "2001:db8::1"),
        (&["for=1.1.1.1, for=unknown, for=10.2.2.2"], "10.2.2.2"),
        (&["for=1.1.1.1, for=_hidden"], "10.0.0.1"),
        (&["for=1.1.1.1, for=203.0.113.9;"], "10.0.0.1"),
        (&["for=10.1.1.1, for=10.2.2.2"], "10.1.1.1"),
    ] {
        let sent: Vec<_> = lines.iter().map(|line| ("forwarded", *line)).chain([SENT[0]]).collect();
        assert_eq!(told(true, policy, &sent).0, client, "{lines:?}");
        assert_eq!(told(true, ForwardedHeaders::default(), &sent).0, "203.0.113.9", "not read unless it is added to");
    }
    let broken = told(true, policy, &[("forwarded", "for=1.1.1.1;"), ("forwarded", "for=2.2.2.2")]).1;
    assert_eq!(broken[3], "forwarded: for=2.2.2.2, for=10.0.0.1;host=\"shop.example:8080\";proto=http");
}

#[test]
fn the_client_is_the_last_address_that_no_trusted_proxy_has() {
    let nets = ["10.0.0.0/8", "fd00::/8"];
    assert_eq!(client(&nets, "192.0.2.1", &["203.0.113.9"]), "192.0.2.1");
    assert_eq!(client(&nets, "10.0.0.1", &[]), "10.0.0.1");
    assert_eq!(client(&nets, "10.0.0.1", &["203.0.113.9"]), "203.0.113.9");
    assert_eq!(client(&nets, "10.0.0.1", &["1.1.1.1, 203.0.113.9, 10.9.9.9"]), "203.0.113.9");
    assert_eq!(client(&nets, "10.0.0.1", &["1.1.1.1", "203.0.113.9", "10.9.9.9"]), "203.0.113.9");
    assert_eq!(client(&nets, "10.0.0.1", &["10.1.1.1, 10.2.2.2"]), "10.1.1.1");
    assert_eq!(client(&nets, "10.0.0.1", &["1.1.1.1, unknown, 10.2.2.2"]), "10.2.2.2");
    assert_eq!(client(&nets, "fd00::1", &["[2001:db8::1]:4711"]), "2001:db8::1");
    assert_eq!(client(&nets, "::ffff:10.0.0.1", &["203.0.113.9:80"]), "203.0.113.9");
}
