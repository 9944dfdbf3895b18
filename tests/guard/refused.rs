//! Requests that the guard has to refuse, each with where the case comes from: a parser that refuses
//! it too (h11 0.16, llhttp, nginx), or the bug of one that didn't.

/// What a public parser refuses, or two of them read in two ways; each with where it comes from.
pub(super) const BY_PART: [(&str, &str, &[&str]); 5] = [
    // The length of a body.
    (
        "413",
        "Content-Length: {}\r\n\r\nhi",
        &[
            "10000000000000000000",                   // llhttp: overflow of 64 bits
            "99999999999999999999999999999999999999", // h11: more than 20 digits
        ],
    ),
    (
        "400",
        "Content-Length: {}\r\n\r\nhi",
        &[
            "+2",                              // Jetty, CVE-2023-40167
            "-2",                              // h11
            "0x2",                             // h11
            "2_0",                             // aiohttp, CVE-2023-47627
            "2, 2",                            // RFC 9112, 6.3: refused or made one
            "2\r\nContent-Length: 2",          // the same
            "2\r\nContent-Length: 3",          // RFC 9112, 6.3
            "4 2",                             // llhttp, invalid.md
            "",                                // llhttp
            "\u{662}",                         // h11: digits of Unicode
            "2\r\nTransfer-Encoding: chunked", // CL.TE, LiteSpeed
        ],
    ),
    (
        "501",
        "Transfer-Encoding: {}\r\n\r\n0\r\n\r\n",
        &[
            "identity",                               // h11
            "chunked, identity",                      // Jetty, HttpParserTest
            "chunked, chunked",                       // h11
            "gzip, chunked",                          // h11
            "xchunked",                               // PortSwigger, TE.TE
            "\"chunked\"",                            // PortSwigger, TE.TE
            "chunked\r\nTransfer-Encoding: identity", // PortSwigger, TE.TE
            "",                                       // llhttp
        ],
    ),
    (
        "400",
        "{}\r\n\r\n",
        &[
            "Transfer-Encoding:\u{b}chunked",      // PortSwigger, TE.TE
            "Transfer-Encoding : chunked",         // llhttp, CVE-2021-22959
            "X: y\r\n Transfer-Encoding: chunked", // obs-fold
            "X: y\nTransfer-Encoding: chunked",    // a bare LF
            "X: y\rTransfer-Encoding: chunked",    // a bare CR, llhttp, CVE-2023-30589
            "X: \0",                               // h11
            "X: \u{1}",                            // llhttp
            ": y",                                 // HAProxy, CVE-2023-25725
            "X{: y",                               // h11
            "\u{fc}: y",                           // h11
            "nothing",                             // h11
            "Host: b",                             // RFC 9112, 3.2: one host
        ],
    ),
    (
        "400",
        "Transfer-Encoding: chunked\r\n\r\n{}\r\n0\r\n\r\n",
        &[
            "2;a\nb\r\nhi",            // Kestrel, CVE-2025-55315; fasthttp
            "2;a\rb\r\nhi",            // the same
            "2\nhi",                   // Go, CVE-2025-22871
            " 2\r\nhi",                // llhttp
            "0x2\r\nhi",               // Twisted, CVE-2022-24801
            "+2\r\nhi",                // aiohttp, CVE-2023-47627
            "-2\r\nhi",                // the same
            "0_2\r\nhi",               // the same
            "\r\nhi",                  // llhttp
            "fffffffffffffffff\r\nhi", // overflow of 64 bits
            "2\r\nhi!",                // h11, CVE-2025-43859
            "2\r\nhixx",               // the same
            "2\r\nhi\n",               // the same
            "0\r\nX y\r\n\r\n",        // a trailer without a colon
            "0\r\nX: y\n\r\n",         // one that ends in a bare LF
        ],
    ),
];

/// The same of whole requests: statuses that they are answered with.
pub(super) const BY_HEAD: [(&str, &str); 20] = [
    ("GET /health FOO\r\nHost: a\r\n\r\n", "400"),
    ("GET /health HTTP/1.10\r\nHost: a\r\n\r\n", "400"), // h11
    ("GET /health http/1.1\r\nHost: a\r\n\r\n", "400"),  // llhttp
    ("GET /health HTTP/2.0\r\nHost: a\r\n\r\n", "505"),  // nginx
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505"),         // a client of HTTP/2
    ("GET /health\r\n\r\n", "400"),                      // HTTP/0.9
    ("GET  /health HTTP/1.1\r\nHost: a\r\n\r\n", "400"), // h11
    ("GET /health HTTP/1.1 \r\nHost: a\r\n\r\n", "400"), // llhttp
    ("GET\t/health HTTP/1.1\r\nHost: a\r\n\r\n", "400"), // the same
    ("GET /health\nX: y HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
    (" GET /health HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
    ("G(T /health HTTP/1.1\r\nHost: a\r\n\r\n", "400"), // h11
    ("GET /\u{e4} HTTP/1.1\r\nHost: a\r\n\r\n", "400"), // h11
    ("GET health HTTP/1.1\r\nHost: a\r\n\r\n", "400"),  // nginx
    ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", "400"),       // RFC 9112, 3.2.4
    ("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", "501"),
    ("GET /health HTTP/1.1\r\n\r\n", "400"), // RFC 9112, 3.2
    ("GET /health HTTP/1.1\nHost: a\n\n", "400"), // not left waiting
    ("GET /health HTTP/1.1\r\n Host: a\r\n\r\n", "400"), // llhttp
    (
        "POST / HTTP/1.0\r\nAuthorization: Bearer key-two\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "400",
    ), // nginx
];
