# shellcheck shell=bash
# What scripts/bench starts and looks at: both servers, their CPU time and memory, the clip and the certificate.
# Sourced by scripts/bench, whose variables it uses.
# shellcheck disable=SC2034,SC2154

# start NAME COMMAND...: runs it in the background with its output in a file; its process id goes to $started_pid.
start() {
  local name=$1
  shift
  "$@" >"$work/$name.log" 2>&1 &
  started_pid=$!
  started+=("$started_pid")
}

# stop PID: asks first, insists after five seconds.
stop() {
  local pid=$1 tries=0
  kill "$pid" 2>/dev/null || return 0
  while kill -0 "$pid" 2>/dev/null && [ $((tries += 1)) -le 100 ]; do sleep 0.05; done
  kill -KILL "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
}

stop_all() {
  local pid
  for pid in ${started[@]+"${started[@]}"}; do stop "$pid"; done
  started=()
}

# free_ports COUNT: that many ports that nothing listens on.
free_ports() {
  python3 -c 'import socket, sys
held = [socket.socket() for _ in range(int(sys.argv[1]))]
for one in held: one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in held))' "$1"
}

# wait_port PORT NAME: until something listens there, ten seconds at most.
wait_port() {
  local tries=0
  until (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; do
    [ $((tries += 1)) -le 200 ] || {
      tail -n 20 "$work/$2.log" >&2
      fail "$2 does not listen on port $1"
    }
    sleep 0.05
  done
}

# start_headwater FLAG...: process id in $hw. Without a ladder: the peer makes none either, and it has a section of its own.
start_headwater() { start_with_ladder --transcode-mode off --transcode-thumbnails 0s "$@"; }

# start_with_ladder FLAG...: as it comes.
start_with_ladder() {
  start headwater "$headwater" --http-listen "127.0.0.1:$hw_http" --rtmp-listen "127.0.0.1:$hw_rtmp" \
    --admin-listen "127.0.0.1:$hw_admin" --webrtc-listen 127.0.0.1:0 --data-dir "$work/data" --log-level warn "$@"
  hw=$started_pid
  wait_port "$hw_http" headwater
  wait_port "$hw_rtmp" headwater
}

# start_nginx: process id of the master in $ng.
start_nginx() {
  mkdir -p "$work/www" "$work/hls"
  sed -e "s|@WORK@|$work|g; s|@HTTP@|$ng_http|; s|@TLS@|$ng_tls|; s|@RTMP@|$ng_rtmp|" "$here/nginx.conf" >"$work/nginx.conf"
  # Workers of a master that root runs would change to nobody, who may not read the temporary folder.
  if [ "$(id -u)" = 0 ]; then echo 'user root;' >>"$work/nginx.conf"; fi
  start nginx nginx -e "$work/nginx-error.log" -c "$work/nginx.conf"
  ng=$started_pid
  wait_port "$ng_http" nginx
  wait_port "$ng_rtmp" nginx
}

# processes PID: it and its children.
processes() {
  echo "$1"
  pgrep -P "$1" || true
}

# cpu PID: user and system time of all threads, children included, in seconds.
cpu() {
  local pid ticks=0 fields
  for pid in $(processes "$1"); do
    # The name in parentheses may hold spaces; counting starts behind it.
    fields=$(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null) || continue
    # shellcheck disable=SC2086 # split on purpose
    set -- $fields
    ticks=$((ticks + ${12} + ${13}))
  done
  awk -v ticks="$ticks" -v hertz="$(getconf CLK_TCK)" 'BEGIN { printf "%.2f\n", ticks / hertz }'
}

# rss PID: resident memory in KiB, children included.
rss() {
  local pid sum=0 kib
  for pid in $(processes "$1"); do
    kib=$(awk '/^VmRSS/ { print $2 }' "/proc/$pid/status" 2>/dev/null) || continue
    sum=$((sum + ${kib:-0}))
  done
  echo "$sum"
}

# peak_rss PID SECONDS: the highest value of a sample each second, until so many seconds are over by the clock.
peak_rss() {
  local peak=0 now until=$((SECONDS + $2))
  while [ "$SECONDS" -lt "$until" ]; do
    sleep 1
    now=$(rss "$1")
    [ "$now" -gt "$peak" ] && peak=$now
  done
  echo "$peak"
}

# calculate EXPRESSION: awk's arithmetic.
calculate() { awk "BEGIN { printf \"%.4f\\n\", $1 }"; }

# record SECTION METRIC SERVER VALUE UNIT: one measurement of one round.
record() {
  printf '%s\t%s\t%s\t%s\t%s\n' "$@" >>"$results"
  printf '   %-44s %-18s %12s %s\n' "$2" "$3" "$4" "$5"
}

# field FILE KEY...: a value of a JSON object; of a list, by its place.
field() {
  python3 -c 'import functools, json, sys; print(functools.reduce(lambda o, k: o[int(k) if isinstance(o, list) else k], sys.argv[2:], json.load(open(sys.argv[1]))))' "$@"
}

# A picture that moves, 2 Mbit/s with a key frame each two seconds, and a tone.
make_clip() {
  [ -s "$clip" ] && return 0
  say "making a clip of 20 s"
  ffmpeg -v error -f lavfi -i testsrc2=size=1280x720:rate=30 -f lavfi -i sine=frequency=440:sample_rate=48000 -t 20 \
    -c:v libx264 -preset veryfast -profile:v main -pix_fmt yuv420p -bf 0 -g 60 -keyint_min 60 -sc_threshold 0 \
    -b:v 2M -minrate 2M -maxrate 2M -bufsize 1M -nal-hrd cbr -c:a aac -b:a 128k -ac 2 -f flv -y "$clip.part"
  mv "$clip.part" "$clip"
}

make_certificate() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout "$work/key.pem" -out "$work/cert.pem" 2>/dev/null
}

# publish SECONDS STREAMS [FLAG...]: in the background, to Headwater; process id in $publishing.
publish() {
  local seconds=$1 streams=$2
  shift 2
  start publish "$load" publish --url "rtmp://127.0.0.1:$hw_rtmp/live" --name 'load-%d' --streams "$streams" \
    --file "$clip" --seconds "$seconds" "$@"
  publishing=$started_pid
}

# wait_on_air NAME: until its multivariant playlist is there; that request is held until the first segment is.
wait_on_air() {
  local tries=0
  until curl -sf -o /dev/null --max-time 20 "$page/live/$1/index.m3u8"; do
    [ $((tries += 1)) -le 50 ] || fail "the stream $1 does not come on air"
    sleep 0.2
  done
}
