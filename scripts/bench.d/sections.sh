# shellcheck shell=bash
# The sections of scripts/bench. Each starts what it measures, records every round, and stops it again.
# Sourced by scripts/bench, whose variables it uses.
# shellcheck disable=SC2154

# --- http: CPU seconds per GB -------------------------------------------------------------------------------------

bench_http() {
  start_headwater --http-tls-listen "127.0.0.1:$hw_tls" --tls-cert "$work/cert.pem" --tls-key "$work/key.pem" \
    --hls-window 60s --hls-linger 1h
  publish 12 1
  wait_on_air load-0
  wait "$publishing" || fail "publishing failed: $(cat "$work/publish.log")"
  local path round
  path=$(segment_path load-0)
  mkdir -p "$work/www/live"
  curl -sf -o "$work/www/live/segment.m4s" "$page$path"
  start_nginx
  say "   a segment of $(stat -c %s "$work/www/live/segment.m4s") bytes; TLS: headwater $(tls_cipher "$hw_tls"), nginx $(tls_cipher "$ng_tls")"
  for round in $(seq "$rounds"); do
    fetch_wrk 'HTTP/1.1' headwater "$hw" "$page$path"
    fetch_wrk 'HTTP/1.1' nginx "$ng" "http://127.0.0.1:$ng_http/live/segment.m4s"
    fetch_wrk 'HTTP/1.1 TLS' headwater "$hw" "https://127.0.0.1:$hw_tls$path"
    fetch_wrk 'HTTP/1.1 TLS' nginx "$ng" "https://127.0.0.1:$ng_tls/live/segment.m4s"
    fetch_h2load 'HTTP/2 TLS' headwater "$hw" "https://127.0.0.1:$hw_tls$path"
    fetch_h2load 'HTTP/2 TLS' nginx "$ng" "https://127.0.0.1:$ng_tls/live/segment.m4s"
  done
  stop_all
}

# segment_path NAME: path of the last whole segment of the pictures.
segment_path() {
  local media
  media=$(curl -sf "$page/live/$1/index.m3u8" | grep -v '^#' | head -n 1)
  case $media in /*) ;; *) media=/live/$1/$media ;; esac
  local segment
  segment=$(curl -sf "$page$media" | grep -v '^#' | tail -n 2 | head -n 1)
  case $segment in /*) echo "$segment" ;; *) echo "${media%/*}/$segment" ;; esac
}

tls_cipher() {
  openssl s_client -connect "127.0.0.1:$1" </dev/null 2>/dev/null | sed -n 's/^ *Cipher *: *//p; s/^New, .*Cipher is //p' | head -n 1
}

# fetch_wrk METRIC SERVER PID URL
fetch_wrk() {
  local before after bytes
  before=$(cpu "$3")
  wrk -t 2 -c 64 -d "${each}s" -s "$here/wrk.lua" "$4" >"$work/wrk.out" 2>&1 || fail "wrk: $(cat "$work/wrk.out")"
  after=$(cpu "$3")
  bytes=$(sed -n 's/^bytes //p' "$work/wrk.out")
  grep -E '^errors [1-9]' "$work/wrk.out" >&2 || true
  record http "$1, CPU per GB" "$2" "$(calculate "($after - $before) / ($bytes / 1e9)")" s/GB
  record http "$1, rate" "$2" "$(calculate "$bytes * 8 / 1e9 / $each")" Gbit/s
}

# fetch_h2load METRIC SERVER PID URL
fetch_h2load() {
  local before after bytes
  before=$(cpu "$3")
  h2load -t 2 -c 32 -m 8 -D "$each" "$4" >"$work/h2load.out" 2>&1 || fail "h2load: $(cat "$work/h2load.out")"
  after=$(cpu "$3")
  bytes=$(sed -n 's/^traffic: .*(\([0-9]*\)) data$/\1/p' "$work/h2load.out")
  [ "${bytes:-0}" -gt 0 ] || fail "h2load received nothing: $(cat "$work/h2load.out")"
  record http "$1, CPU per GB" "$2" "$(calculate "($after - $before) / ($bytes / 1e9)")" s/GB
  record http "$1, rate" "$2" "$(calculate "$bytes * 8 / 1e9 / $each")" Gbit/s
}

# --- viewers ------------------------------------------------------------------------------------------------------

bench_viewers() {
  local ramp=5
  watch_stream "HTTP/1.1" "$ramp" $((ramp + each * 3))
  watch_stream "HTTP/2" "$ramp" $((ramp + each * 3)) --http2
}

# watch_stream NAME RAMP SECONDS [FLAG...]
watch_stream() {
  local name="$viewers viewers, $1" ramp=$2 seconds=$3 before rss_before peak cpu_before viewing_cpu
  shift 3
  start_headwater --hls-window 6s
  publish $((seconds + 20)) 1
  wait_on_air load-0
  # Until the window is full: what it takes is the stream, not the viewers.
  sleep 8
  rss_before=$(rss "$hw")
  start view "$load" view --json --url "$page/live/load-0/index.m3u8" --viewers "$viewers" --seconds "$seconds" \
    --ramp "$ramp" "$@"
  local viewing=$started_pid
  sleep "$((ramp + 2))"
  cpu_before=$(cpu "$hw")
  viewing_cpu=$(cpu "$viewing")
  before=$(date +%s.%N)
  peak=$(peak_rss "$hw" $((seconds - ramp - 4)))
  local took cpu_after viewing_after
  took=$(calculate "$(date +%s.%N) - $before")
  cpu_after=$(cpu "$hw")
  viewing_after=$(cpu "$viewing")
  # A process that is gone has no CPU time any more, and a difference to nothing would be a wrong figure.
  kill -0 "$hw" "$viewing" || fail "ended before it was measured: $(cat "$work/headwater.log" "$work/view.log")"
  record viewers "$name: server CPU" headwater "$(calculate "($cpu_after - $cpu_before) / $took * 100")" '% of a core'
  record viewers "$name: load tool CPU" headwater "$(calculate "($viewing_after - $viewing_cpu) / $took * 100")" '% of a core'
  wait "$viewing" || fail "the viewers saw nothing: $(cat "$work/view.log")"
  record viewers "$name: memory per viewer" headwater "$(calculate "($peak - $rss_before) / $viewers")" KiB
  local key
  for key in joined parts late failed broken_hints skipped; do
    record viewers "$name: $key" headwater "$(field "$work/view.log" "$key")" ''
  done
  for key in p50 p99; do
    record viewers "$name: join $key" headwater "$(field "$work/view.log" join_ms "$key")" ms
    record viewers "$name: part after first viewer $key" headwater \
      "$(field "$work/view.log" part_after_first_viewer_ms "$key")" ms
    record viewers "$name: oldest frame age $key" headwater \
      "$(field "$work/view.log" oldest_frame_age_ms "$key")" ms
  done
  record viewers "$name: delivered" headwater "$(field "$work/view.log" megabits_per_second)" Mbit/s
  stop_all
}

# --- publishers ---------------------------------------------------------------------------------------------------

bench_publishers() {
  local round
  for round in $(seq "$rounds"); do
    start_headwater --hls-window 6s
    ingest 'RTMP in, LL-HLS packaged' headwater "$hw" "rtmp://127.0.0.1:$hw_rtmp/live"
    stop_all
    start_nginx
    ingest 'RTMP in, HLS packaged' nginx "$ng" "rtmp://127.0.0.1:$ng_rtmp/hls"
    ingest 'RTMP in, nothing else' nginx "$ng" "rtmp://127.0.0.1:$ng_rtmp/plain"
    stop_all
    rm -rf "$work/hls"
  done
}

# ingest METRIC SERVER PID URL
ingest() {
  # Until both windows are full: from then on memory is reused, as it is on the long run.
  local ramp=3 fill=7 before after pid=$3
  start ingest "$load" publish --json --url "$4" --name 'load-%d' --streams "$publishers" --file "$clip" \
    --ramp "$ramp" --seconds $((ramp + fill + each + 3))
  local publishing=$started_pid
  sleep $((ramp + fill))
  before=$(cpu "$pid")
  sleep "$each"
  after=$(cpu "$pid")
  record publishers "$1: CPU per stream" "$2" "$(calculate "($after - $before) / $each / $publishers * 100")" '% of a core'
  record publishers "$1: memory per stream" "$2" "$(calculate "$(rss "$pid") / $publishers / 1024")" MiB
  wait "$publishing" || fail "publishing failed: $(cat "$work/ingest.log")"
  # Far behind means that the machine could not keep up, and that the figures above are too small.
  record publishers "$1: messages behind p99" "$2" "$(field "$work/ingest.log" behind_ms p99)" ms
  [ "$(field "$work/ingest.log" alive_at_end)" = "$publishers" ] ||
    say "   only $(field "$work/ingest.log" alive_at_end) of $publishers streams lasted: $(field "$work/ingest.log" failures)"
}

# --- latency ------------------------------------------------------------------------------------------------------

bench_latency() {
  local round key
  start_headwater --hls-window 6s
  for round in $(seq "$rounds"); do
    for flag in '' --no-hints; do
      # shellcheck disable=SC2086 # an empty flag is none
      "$load" latency --json --publish "rtmp://127.0.0.1:$hw_rtmp/live" --name "latency-$round$flag" --file "$clip" \
        --url "$page/live/latency-$round$flag/index.m3u8" --seconds $((each * 2 + 4)) $flag >"$work/latency.json" ||
        fail "latency: $(cat "$work/latency.json")"
      for key in p50 p99 max; do
        record latency "publish to part ${flag:+(listed parts only) }$key" headwater \
          "$(field "$work/latency.json" publish_to_part_ms "$key")" ms
      done
      [ -n "$flag" ] || for key in part_target_ms part_mean_ms p50_limit_ms p99_limit_ms frames_matched; do
        record latency "$key" headwater "$(field "$work/latency.json" "$key")" ''
      done
    done
  done
  stop_all
}

# --- idle ---------------------------------------------------------------------------------------------------------

bench_idle() {
  local round
  mkdir -p "$work/www" "$work/hls"
  start_nginx
  stop_all
  for round in $(seq "$rounds"); do
    once headwater "$hw_http" "$headwater" --http-listen "127.0.0.1:$hw_http" --rtmp-listen "127.0.0.1:$hw_rtmp" \
      --admin-listen "127.0.0.1:$hw_admin" --webrtc-listen 127.0.0.1:0 --data-dir "$work/data" --log-level warn
    once nginx "$ng_http" nginx -e "$work/nginx-error.log" -c "$work/nginx.conf"
  done
}

# once SERVER PORT COMMAND...
once() {
  local server=$1 port=$2 millis kib
  shift 2
  read -r millis kib < <(python3 "$here/startup.py" "$port" "$@")
  record idle 'start to listening' "$server" "$millis" ms
  record idle 'memory without work' "$server" "$(calculate "$kib / 1024")" MiB
}

# --- churn --------------------------------------------------------------------------------------------------------

bench_churn() {
  start_headwater --hls-linger 1s
  come_and_go headwater "$hw" "rtmp://127.0.0.1:$hw_rtmp/live"
  stop_all
  start_nginx
  come_and_go nginx "$ng" "rtmp://127.0.0.1:$ng_rtmp/hls"
  stop_all
}

# come_and_go SERVER PID URL: memory after a warm-up of a tenth, and after all cycles, once what lingers is gone.
come_and_go() {
  local before after
  churn "$3" $(((cycles + 9) / 10))
  before=$(rss "$2")
  churn "$3" "$cycles"
  after=$(rss "$2")
  record churn "memory before" "$1" "$(calculate "$before / 1024")" MiB
  record churn "memory after $cycles publishers" "$1" "$(calculate "$after / 1024")" MiB
  record churn "growth" "$1" "$(calculate "($after - $before) / $before * 100")" %
  record churn "cycles that failed" "$1" "$(field "$work/churn.json" failed)" ''
}

# churn URL CYCLES
churn() {
  "$load" churn --json --url "$1" --file "$clip" --cycles "$2" >"$work/churn.json" || fail "churn: $(cat "$work/churn.json")"
  sleep 3
}

# --- ladder -------------------------------------------------------------------------------------------------------

# SIZE@BITS of the rungs that 1080p gets by default, and of those that 720p gets.
rungs_1080=(1280x720@3000000 854x480@1400000 640x360@800000)
rungs_720=(854x480@1400000 640x360@800000)

bench_ladder() {
  local round size
  make_source 1920x1080 6M
  make_source 1280x720 3M
  mkdir -p "$work/rungs/headwater" "$work/rungs/ffmpeg" "$work/rungs/ffmpeg-one"
  for round in $(seq "$rounds"); do
    make_rungs 1920x1080 headwater "${rungs_1080[@]}"
    record ladder 'three rungs of 1080p30, of a core' headwater \
      "$(calculate "$(field "$work/ladder.json" cpu_percent)")" %
    ffmpeg_rungs ffmpeg 0 "${rungs_1080[@]}"
    ffmpeg_rungs ffmpeg-one 1 "${rungs_1080[@]}"
  done
  for size in "${rungs_1080[@]%@*}"; do
    record ladder "$size, SSIM" headwater "$(ssim "$work/rungs/headwater/$size.h264" "$size")" ''
    record ladder "$size, SSIM" ffmpeg "$(ssim "$work/rungs/ffmpeg/$size.h264" "$size")" ''
  done
  idle_ladder 'a stream without a ladder, of a core' --transcode-mode off --transcode-thumbnails 0s
  idle_ladder 'a stream that nobody watches, of a core' --transcode-idle 1s
  for round in $(seq "$rounds"); do
    make_rungs 1280x720 headwater "${rungs_720[@]}"
    for size in 0 1; do
      record ladder "${rungs_720[$size]%@*} behind 720p30, p95" headwater "$(field "$work/ladder.json" rungs "$size" added_ms p95)" ms
    done
  done
}

# idle_ladder METRIC FLAG...: a stream of 720p30 that nobody watches; the server and its children, of a core.
idle_ladder() {
  local metric=$1 before after
  shift
  start_with_ladder "$@"
  publish 32 1
  wait_on_air load-0
  # Whoever asked whether it is on the air has watched it: its rungs stop a second later.
  sleep 4
  before=$(cpu "$hw")
  sleep 20
  after=$(cpu "$hw")
  record ladder "$metric" headwater "$(calculate "($after - $before) / 20 * 100")" %
  stop_all
}

# make_source SIZE BITRATE: 20 s that no encoder finds easy, with a key frame each two seconds.
make_source() {
  local file=$bench/source-$1.flv
  [ -s "$file" ] && return 0
  say "making a source of 20 s, $1"
  ffmpeg -v error -f lavfi -i "testsrc2=size=$1:rate=30,noise=alls=6:allf=t" -t 20 -c:v libx264 -preset veryfast \
    -profile:v high -pix_fmt yuv420p -bf 0 -g 60 -keyint_min 60 -sc_threshold 0 -b:v "$2" -maxrate "$2" -bufsize "$2" \
    -an -f flv -y "$file.part"
  mv "$file.part" "$file"
}

# make_rungs SOURCE_SIZE FOLDER RUNG...: by a worker, in step with the clock; what it measured is in ladder.json.
make_rungs() {
  local source=$bench/source-$1.flv out=$work/rungs/$2
  shift 2
  "$load" ladder --json --program "$headwater" --file "$source" --out "$out" "${@/#/--rung=}" >"$work/ladder.json" ||
    fail "ladder: $(cat "$work/ladder.json")"
}

# ffmpeg_rungs FOLDER THREADS RUNG...: the same rungs of 1080p by one ffmpeg. THREADS of each part; 0: as it likes, which
# is how it is run; with one, nothing runs side by side, which saves processor time where cores share a cache.
ffmpeg_rungs() {
  local name=$1 threads=$2 count=0 split='' graph='' rung size bits began ticks
  local -a outputs=()
  shift 2
  for rung in "$@"; do
    size=${rung%@*} bits=${rung#*@}
    split+="[s$count]" graph+=";[s$count]scale=${size/x/:}[r$count]"
    outputs+=(-map "[r$count]" -c:v libx264 -preset veryfast -tune zerolatency -profile:v main -bf 0 -g 60 -keyint_min 60
      -sc_threshold 0 -b:v "$bits" -maxrate "$bits" -bufsize "$bits" -threads "$threads" -f h264 -y
      "$work/rungs/$name/$size.h264")
    count=$((count + 1))
  done
  began=$(date +%s.%N)
  ticks=$({ TIMEFORMAT='%U %S'; time ffmpeg -nostdin -v error -threads "$threads" -filter_complex_threads "$threads" -re \
    -i "$bench/source-1920x1080.flv" -filter_complex "[0:v]split=$count$split$graph" "${outputs[@]}"; } 2>&1)
  record ladder 'three rungs of 1080p30, of a core' "$name" \
    "$(calculate "(${ticks/ / + }) / ($(date +%s.%N) - $began) * 100")" %
}

# ssim FILE SIZE: of a rung, to the source as Lanczos scales it.
ssim() {
  ffmpeg -nostdin -r 30 -i "$1" -i "$bench/source-1920x1080.flv" -lavfi \
    "[1:v]fps=30,setpts=N,scale=${2/x/:}:flags=lanczos[source];[0:v]setpts=N[rung];[rung][source]ssim=shortest=1" \
    -f null - 2>&1 | sed -n 's/.*All:\([0-9.]*\).*/\1/p'
}
