#!/usr/bin/env bash
# What serving costs, beside nginx with the same bytes on the same machine in the same run.
#
#   cargo build --release && benches/load.sh            all rows, about two minutes
#   benches/load.sh small unchanged                     these rows only
#
# Rows: small (140 kB), unchanged (the same, 304), large (10 MB), tls (140 kB over TLS 1.3), handshake (a new TLS 1.3 connection
# for each request, 304), idle (memory of connections that are held open).
#
# Needs wrk, nginx, curl, openssl. The machine need not be quiet: every row is measured in rounds, our server and nginx in turn,
# and the median counts. CPU is that of the server's processes (/proc/PID/stat, user and system), divided by the requests
# answered: it hardly depends on what else runs, requests per second do. Everything is on loopback, in a folder of its own, and
# gone at the end.
#
# CRATOS=program  WRK=program  ROUNDS=3  SECONDS_EACH=3  CONNECTIONS=32  IDLE=10000  THREADS=1 (of our server, and workers of nginx)
set -euo pipefail
cd "$(dirname "$0")/.."

CRATOS=$(realpath "${CRATOS:-${CARGO_TARGET_DIR:-target}/release/cratos}")
WRK=${WRK:-wrk} ROUNDS=${ROUNDS:-3} SECONDS_EACH=${SECONDS_EACH:-3} CONNECTIONS=${CONNECTIONS:-32} IDLE=${IDLE:-10000}
THREADS=${THREADS:-1}
ROWS=${*:-small unchanged large tls handshake idle}
SITE=misp.example.net
TICK=$(getconf CLK_TCK)
for program in "$CRATOS" "$WRK" nginx curl openssl; do
    command -v "$program" >/dev/null || { echo "$program is not there" >&2; exit 1; }
done

# Connections are files.
ulimit -n "$(ulimit -Hn)"
dir=$(mktemp -d)
pids=()
finish() {
    local pid
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
    rm -rf "$dir"
}
trap finish EXIT

wants() { [[ " $ROWS " == *" $1 "* ]]; }

# A port that nobody listens on.
port() {
    local port
    while port=$((20000 + RANDOM % 12000)); (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do :; done
    echo "$port"
}

# An event of the feed: uuid, MISP type, lines of values on stdin.
event() {
    awk -v uuid="$1" -v type="$2" -v now="$(date +%s)" '
        BEGIN {
            printf "{\"Event\":{\"uuid\":\"%s\",\"info\":\"load\",\"timestamp\":\"%d\",\"published\":true,", uuid, now
            printf "\"Orgc\":{\"name\":\"Example\",\"uuid\":\"55f6ea5e-2c60-40e5-964f-47a8950d210f\"},"
            printf "\"Tag\":[{\"name\":\"example:incident-classification=block\"}],\"Attribute\":["
        }
        {
            printf "%s{\"uuid\":\"a77b0000-%s-4000-8000-%012x\",\"type\":\"%s\",", (NR > 1 ? "," : ""), substr(uuid, 10, 4), NR, type
            printf "\"value\":\"%s\",\"timestamp\":\"%d\",\"to_ids\":true,\"deleted\":false}", $0, now - 60
        }
        END { print "]}}" }' >"$dir/feed/$1.json"
}

lists() {
    mkdir -p "$dir"/{feed,config,sites,nginx}
    local small=5e0e9a1c-0001-4000-8000-000000000001 large=5e0e9a1c-0002-4000-8000-000000000002
    awk 'BEGIN { for (n = 0; n < 10600; n++) printf "45.%d.%d.%d\n", 100 + n % 100, 100 + n / 100 % 100, 10 + n / 10000 }' |
        event $small ip-dst
    awk 'BEGIN {
        for (n = 0; n < 160; n++) path = path substr("abcdefghij", n % 10 + 1, 1)
        for (n = 0; n < 54000; n++) printf "https://cdn.example.org/%06d/%s\n", n, path
    }' | event $large url
    printf '{"%s":{"timestamp":"%d","info":""},"%s":{"timestamp":"%d","info":""}}\n' \
        $small "$(date +%s)" $large "$(date +%s)" >"$dir/feed/manifest.json"
    cat >"$dir/config/config.yaml" <<CONFIG
encryption_key: "load-test-encryption-key"
salt: "load-test-salt"
listen: 127.0.0.1:$ours
max_connections: 20000
serve_threads: $THREADS
feeds_dir: feeds-out
state_dir: state
publish: {types: [ipv4, url], ages: [1w], formats: [txt]}
CONFIG
    cat >"$dir/sites/$SITE.yaml" <<CONFIG
enabled: true
tag: example
allowed_ips: [127.0.0.1/32]
feed: ./feed
mispAuthKey: AbcdefghijAbcdefghijAbcdefghijAbcdefghij
refresh: 1h
custom_feeds: {}
CONFIG
    "$CRATOS" -C "$dir" refresh >"$dir/refresh.log" 2>&1 || { cat "$dir/refresh.log" >&2; exit 1; }
}

certificate() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
        -keyout "$dir/key.pem" -out "$dir/cert.pem" 2>/dev/null
}

start_nginx() {
    # As root its workers would be nobody, who may not read the lists.
    local user=
    if [ "$(id -u)" = 0 ]; then user="user root;"; fi
    cat >"$dir/nginx.conf" <<CONFIG
daemon off;
$user
worker_processes $THREADS;
worker_rlimit_nofile 40000;
pid $dir/nginx.pid;
error_log $dir/nginx-error.log;
events { worker_connections 20000; }
http {
    access_log off;
    sendfile on;
    tcp_nopush on;
    open_file_cache max=1000 inactive=60s;
    keepalive_requests 100000000;
    keepalive_timeout 75s;
    types { text/plain txt; }
    ssl_protocols TLSv1.3;
    ssl_session_cache shared:all:10m;
    client_body_temp_path $dir/nginx; proxy_temp_path $dir/nginx; fastcgi_temp_path $dir/nginx;
    uwsgi_temp_path $dir/nginx; scgi_temp_path $dir/nginx;
    server {
        listen 127.0.0.1:$theirs backlog=4096;
        listen 127.0.0.1:$theirs_tls ssl backlog=4096;
        ssl_certificate $dir/cert.pem;
        ssl_certificate_key $dir/key.pem;
        root $dir/feeds-out/$SITE/main/current;
    }
}
CONFIG
    nginx -p "$dir" -c "$dir/nginx.conf" -e "$dir/nginx-error.log" &
    nginx=$!
    pids+=("$nginx")
}

# $1: plain or tls
start_cratos() {
    local lines=
    if [ "$1" = tls ]; then lines="tls: {cert: cert.pem, key: key.pem}"; fi
    sed -i '/^tls:/d' "$dir/config/config.yaml"
    echo "$lines" >>"$dir/config/config.yaml"
    "$CRATOS" -C "$dir" serve >"$dir/serve.log" 2>&1 &
    cratos=$!
    pids+=("$cratos")
}

stop_cratos() {
    kill "$cratos"
    wait "$cratos" 2>/dev/null || true
}

answers() {
    local try
    for try in $(seq 100); do
        curl -ksf -o /dev/null "${auth[@]}" "$1" && return 0
        sleep 0.1
    done
    echo "no answer from $1" >&2
    tail -n 5 "$dir/serve.log" "$dir/nginx-error.log" >&2
    return 1
}

# Clock ticks of a process and its children that run: user and system.
ticks() {
    local pid sum=0
    for pid in "$1" $(pgrep -P "$1" || true); do
        sum=$((sum + $(awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$pid/stat")))
    done
    echo "$sum"
}

# One measurement: process, URL, further headers. Prints µs of CPU per request, requests/s, MB/s.
measure() {
    local pid=$1 url=$2 before after
    shift 2
    before=$(ticks "$pid")
    "$WRK" -t1 -c"$CONNECTIONS" -d"${SECONDS_EACH}s" --timeout 20s -H "token: $token" "$@" "$url" >"$dir/wrk.out"
    after=$(ticks "$pid")
    if grep -q 'Non-2xx' "$dir/wrk.out"; then echo "errors from $url:" >&2; cat "$dir/wrk.out" >&2; exit 1; fi
    awk -v ticks=$((after - before)) -v tick="$TICK" '
        / requests in / { requests = $1 }
        /^Requests\/sec/ { rate = $2 }
        /^Transfer\/sec/ { bytes = $2 + 0; if ($2 ~ /GB/) bytes *= 1024; if ($2 ~ /KB/) bytes /= 1024 }
        END { if (!requests) exit 1; printf "%.2f %.0f %.0f\n", ticks / tick * 1e6 / requests, rate, bytes }' "$dir/wrk.out"
}

# Column of a file → its median.
median() { cut -d' ' -f"$1" "$2" | sort -g | awk '{ line[NR] = $1 } END { print line[int((NR + 1) / 2)] }'; }

etag() { curl -ksI "${auth[@]}" "$1" | tr -d '\r' | awk 'tolower($1) == "etag:" { print $2 }'; }

# A row of the table: name, title, our URL, their URL, "304" if nothing changed, further arguments of wrk.
row() {
    local title=$2 mine=$3 other=$4 unchanged=$5 round
    local condition_mine=() condition_other=()
    wants "$1" || return 0
    shift 5
    if [ "$unchanged" = 304 ]; then
        condition_mine=(-H "If-None-Match: $(etag "$mine")") condition_other=(-H "If-None-Match: $(etag "$other")")
    fi
    : >"$dir/mine" >"$dir/other"
    for round in $(seq "$ROUNDS"); do
        measure "$cratos" "$mine" "${condition_mine[@]}" "$@" >>"$dir/mine"
        measure "$nginx" "$other" "${condition_other[@]}" "$@" >>"$dir/other"
    done
    # shellcheck disable=SC2046
    printf '%s %s %s %s %s %s\n' $(for column in 1 2 3; do median $column "$dir/mine"; median $column "$dir/other"; done) |
        awk -v title="$title" '{
            printf "| %s | %.1f | %.1f | **%.2f** | %d | %d | %.2f |\n", title, $1, $2, $1 / $2, $3, $4, $3 / $4 }'
}

# Resident memory of a process and its children, in kB.
memory() { local pid; for pid in "$1" $(pgrep -P "$1" || true); do awk '/^VmRSS/ { print $2 }' "/proc/$pid/status"; done | paste -sd+ | bc; }

# Connections that have asked once and are held: process, port, path.
idle() {
    local before
    before=$(memory "$1")
    (
        for ((n = 0; n < IDLE; n++)); do
            exec {fd}<>"/dev/tcp/127.0.0.1/$2"
            printf 'GET %s HTTP/1.1\r\nHost: x\r\ntoken: %s\r\nIf-None-Match: *\r\n\r\n' "$3" "$token" >&"$fd"
        done
        touch "$dir/held"
        sleep 30
    ) 2>"$dir/idle.log" &
    local holder=$!
    pids+=("$holder")
    while [ ! -e "$dir/held" ] && kill -0 "$holder" 2>/dev/null; do sleep 0.1; done
    [ -e "$dir/held" ] || { cat "$dir/idle.log" >&2; return 1; }
    rm "$dir/held"
    sleep 1
    local held
    held=$(find "/proc/$1/fd" $(pgrep -P "$1" | sed 's|.*|/proc/&/fd|') -lname 'socket:*' 2>/dev/null | wc -l)
    awk -v kb=$(($(memory "$1") - before)) -v held="$held" -v idle="$IDLE" \
        'BEGIN { printf "%.1f kB (%d sockets open)\n", kb / idle, held }'
    kill "$holder"
    wait "$holder" 2>/dev/null || true
}

ours=$(port) theirs=$(port) theirs_tls=$(port)
lists
certificate
token=$("$CRATOS" -C "$dir" token issue --site "$SITE" --expire 2099-12-31 2>/dev/null)
auth=(-H "token: $token")
small=/v1/feed/block/type/ipv4/age/1w/output/txt
large=/v1/feed/block/type/url/age/1w/output/txt
start_nginx
answers "http://127.0.0.1:$theirs/feed/block/ipv4/1w.txt"

echo "| requests | CPU, µs | nginx | ratio | requests/s | nginx | ratio |"
echo "|---|---:|---:|---:|---:|---:|---:|"
if wants small || wants unchanged || wants large || wants idle; then
    start_cratos plain
    answers "http://127.0.0.1:$ours$small"
    for pair in "$small feed/block/ipv4/1w.txt" "$large feed/block/url/1w.txt"; do
        read -r mine other <<<"$pair"
        curl -sf "${auth[@]}" "http://127.0.0.1:$ours$mine" | cmp - "$dir/feeds-out/$SITE/main/current/$other"
        curl -sf "http://127.0.0.1:$theirs/$other" | cmp - "$dir/feeds-out/$SITE/main/current/$other"
    done
    row small "140 kB" "http://127.0.0.1:$ours$small" "http://127.0.0.1:$theirs/feed/block/ipv4/1w.txt" 200
    row unchanged "140 kB, unchanged (304)" "http://127.0.0.1:$ours$small" "http://127.0.0.1:$theirs/feed/block/ipv4/1w.txt" 304
    row large "10 MB" "http://127.0.0.1:$ours$large" "http://127.0.0.1:$theirs/feed/block/url/1w.txt" 200
    if wants idle; then
        stop_cratos
        start_cratos plain
        answers "http://127.0.0.1:$ours$small"
        held="memory of an idle connection, $IDLE held: $(idle "$cratos" "$ours" "$small")"
        held="$held; nginx $(idle "$nginx" "$theirs" "/feed/block/ipv4/1w.txt")"
    fi
    stop_cratos
fi
if wants tls || wants handshake; then
    start_cratos tls
    answers "https://127.0.0.1:$ours$small"
    row tls "140 kB, TLS 1.3" "https://127.0.0.1:$ours$small" "https://127.0.0.1:$theirs_tls/feed/block/ipv4/1w.txt" 200
    row handshake "a new TLS 1.3 connection each, 304" "https://127.0.0.1:$ours$small" \
        "https://127.0.0.1:$theirs_tls/feed/block/ipv4/1w.txt" 304 -H "Connection: close"
    stop_cratos
fi
echo
echo "${held:-}"
