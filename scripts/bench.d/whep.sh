# shellcheck shell=bash
# The section of scripts/bench on WebRTC: what viewers cost, beside Pion's example of a WHIP and WHEP server, which does
# nothing but forward packets; what coming and going leaves behind; how long the server has a packet.
# Sourced by scripts/bench, whose variables it uses.
# shellcheck disable=SC2154

# --- whep: CPU and memory per WebRTC viewer -----------------------------------------------------------------------

pion_version=v4.2.26

bench_whep() {
  local count peer=1
  build_pion || {
    peer=
    say "   no peer: Pion's example could not be built ($work/pion-build.log)"
  }
  for _ in $(seq "$rounds"); do
    for count in $whep_viewers; do
      start_headwater
      forward "$count" headwater "$hw" "$page/whip/load" "$page/whep/load"
      stop_all
      [ -n "$peer" ] || continue
      start pion "$bench/pion/server" "127.0.0.1:$peer_http"
      wait_port "$peer_http" pion
      forward "$count" pion "$started_pid" "http://127.0.0.1:$peer_http/whip" "http://127.0.0.1:$peer_http/whep"
      stop_all
    done
  done
  start_headwater --hls-window 6s
  leave_behind
  stop_all
}

# build_pion: the example from its published module, listening where it is told and asking no STUN server.
build_pion() {
  local out=$bench/pion source
  [ -x "$out/server" ] && [ "$(cat "$out/version" 2>/dev/null)" = "$pion_version" ] && return 0
  need go golang-go
  say "building the peer: the whip-whep example of Pion $pion_version"
  mkdir -p "$out"
  {
    source=$(cd "$out" && go mod download -json "github.com/pion/webrtc/v4@$pion_version" |
      sed -n 's/^.*"Dir": "\(.*\)".*$/\1/p') && [ -n "$source" ] &&
      sed 's|":8080"|os.Args[1]|; s|"net/http"|"net/http"\n\t"os"|; /stun:stun/d' \
        "$source/examples/whip-whep/main.go" >"$out/main.go" &&
      (
        cd "$out" && rm -f go.mod go.sum && go mod init peer &&
          go get "github.com/pion/webrtc/v4@$pion_version" && go build -o server . && echo "$pion_version" >version
      )
  } >"$work/pion-build.log" 2>&1
}

# forward VIEWERS SERVER PID WHIP_URL WHEP_URL: one source of 2 Mbit/s, which the load tool publishes, to many.
forward() {
  local name="$1 viewers" server=$2 out=$work/whep.json key
  # So many a second that none waits for another's handshake.
  "$load" whep --json "$5" --publish "$4" --viewers "$1" --joins-per-second 40 --server "$3" \
    --seconds $(($1 / 40 + each * 2 + 4)) >"$out" 2>"$work/whep.err" || {
    cat "$work/whep.err" "$out" >&2
    fail "whep: nothing came from $server"
  }
  record whep "$name: server CPU" "$server" "$(field "$out" server steady cpu_percent)" '% of a core'
  record whep "$name: CPU seconds per viewer hour" "$server" \
    "$(field "$out" server steady cpu_seconds_per_viewer_hour)" s
  record whep "$name: packets per CPU second" "$server" "$(field "$out" server steady packets_per_cpu_second)" ''
  record whep "$name: memory per viewer" "$server" "$(field "$out" server steady rss_kib_per_viewer)" KiB
  for key in joined lost gaps; do record whep "$name: $key" "$server" "$(field "$out" "$key")" ''; done
  record whep "$name: delivered" "$server" "$(field "$out" server steady megabits_per_second)" Mbit/s
  record whep "$name: join p50" "$server" "$(field "$out" join_ms p50)" ms
  for key in p50 p99; do record whep "$name: packet in to packet out $key" "$server" "$(field "$out" delay_ms "$key")" ms; done
}

# leave_behind: memory, files and threads after many viewers came and went, a third of them without a word; and after a tenth
# as many, which fill what is kept for ever.
leave_behind() {
  local out=$work/whep.json count key
  for count in $((whep_cycles / 10)) "$whep_cycles"; do
    come_by "$count"
    for key in rss_kib files threads; do
      record whep "$key after $count viewers" headwater "$(field "$out" server after "$key")" ''
    done
  done
  record whep 'viewers that failed' headwater "$(field "$out" failed)" ''
  record whep 'sessions left' headwater \
    "$(curl -sf "http://127.0.0.1:$hw_admin/metrics" | sed -n 's/^headwater_webrtc_sessions //p')" ''
}

# come_by VIEWERS: who left without a word is forgotten half a minute later.
come_by() {
  "$load" whep --json "$page/whep/load" --publish "$page/whip/load" --churn "$1" --viewers 50 --joins-per-second 60 \
    --seconds 3600 --rest 34 --server "$hw" >"$work/whep.json" || fail "whep: $(cat "$work/whep.json")"
}
