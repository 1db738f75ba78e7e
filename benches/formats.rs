//! What writing a value in each format costs: `cargo bench --bench formats [values]`, by default 100,000.
//!
//! In: made-up values, sorted as a list has them, of some data types of different length; of its own ones for a format that
//! takes none of these. Out: per format and data type nanoseconds per value, bytes written per second, and the time as a
//! multiple of what the first format, `txt`, takes for the same values. Medians of 25 rounds.
//!
//! Invariant: the formats are those of [`FORMATS`], so a new one is measured without a word here.

use std::hint::black_box;
use std::time::Instant;

use cratos::render::{FORMATS, Format};

const VALUES: u64 = 100_000;
const ROUNDS: usize = 25;
/// Short, middling and long ones, and one of a fixed length.
const TYPES: [&str; 4] = ["ipv4", "domain", "url", "file-md5"];

fn main() {
    let count = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(VALUES);
    println!("| format | data type | ns per value | MB/s | of {} |\n|---|---|---|---|---|", FORMATS[0].name);
    for format in FORMATS {
        for data_type in types(format) {
            let values = values(data_type, count);
            let Measured { seconds, ratio, bytes } = measure(format, data_type, &values);
            println!(
                "| {} | {data_type} | {:.1} | {:.0} | {ratio:.1}x |",
                format.name,
                seconds / count as f64 * 1e9,
                bytes as f64 / seconds / 1e6,
            );
        }
    }
}

/// Those of ours that the format takes, else its own.
fn types(format: &Format) -> Vec<&'static str> {
    let ours: Vec<&'static str> = TYPES.into_iter().filter(|name| format.takes(name)).collect();
    if ours.is_empty() { format.types.unwrap_or_default().to_vec() } else { ours }
}

/// Different values of a kind the data type has, in order.
fn values(data_type: &str, count: u64) -> Vec<String> {
    let value = |n: u64| match data_type {
        "ipv4" | "ipv4ext" => format!("{}.{}.{}.{}", 11 + (n >> 24 & 63), n >> 16 & 255, n >> 8 & 255, n & 255),
        "cidr4" => format!("{}.{}.{}.0/24", 11 + (n >> 16 & 127), n >> 8 & 255, n & 255),
        "ipv6" => format!("2001:db8:{:x}:{:x}::1", n >> 16, n & 0xFFFF),
        "domain" | "hostname" => format!("d{n}.bulk.example.org"),
        "url" => format!("https://h{n}.bulk.example.org/p/{n:016x}?q=1&r=2"),
        _ => format!("{:032x}", u128::from(n).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)),
    };
    let mut values: Vec<String> = (0..count).map(value).collect();
    values.sort_unstable();
    values
}

/// What all values of a list cost.
struct Measured {
    seconds: f64,
    /// Of the time that the first format takes.
    ratio: f64,
    bytes: usize,
}

/// Both formats in turn: the machine may be busy with something else for a while.
fn measure(format: &Format, data_type: &str, values: &[String]) -> Measured {
    // The first ones pay for memory that the later ones find ready.
    round(format, data_type, values);
    let (mut times, mut ratios, mut bytes) = (Vec::new(), Vec::new(), 0);
    for _ in 0..ROUNDS {
        // What is known when this is compiled would be faster than what stands in a list.
        let (base, _) = round(black_box(&FORMATS[0]), data_type, values);
        let (seconds, written) = round(format, data_type, values);
        times.push(seconds);
        ratios.push(seconds / base);
        bytes = written;
    }
    Measured { seconds: median(times), ratio: median(ratios), bytes }
}

/// Seconds and bytes of one body.
fn round(format: &Format, data_type: &str, values: &[String]) -> (f64, usize) {
    let begun = Instant::now();
    let body = format.body(data_type, black_box(values).iter().map(String::as_str));
    let seconds = begun.elapsed().as_secs_f64();
    (seconds, black_box(body).bytes.len())
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_unstable_by(f64::total_cmp);
    of[of.len() / 2]
}
