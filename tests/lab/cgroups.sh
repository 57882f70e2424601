#!/usr/bin/env bash
# Control groups with the controllers of memory and processes, in a virtual machine of its own: most test machines have
# them elsewhere. The server is alone in a group that was handed to it, as a service manager does.
#
# Needs qemu-system-x86_64, a kernel under /boot, a static busybox and cpio (Debian: qemu-system-x86,
# linux-image-cloud-amd64, busybox-static, cpio). Usage: cgroups.sh path/to/futurity
set -euo pipefail

server=$(realpath "${1:?the path of the server}")
for tool in qemu-system-x86_64 busybox cpio; do
    command -v "$tool" >/dev/null || { echo "NOTE: SKIPPED, $tool is missing"; exit 0; }
done
kernel=$(find /boot -name 'vmlinuz-*' | sort | tail -n 1)
[ -n "$kernel" ] || { echo "NOTE: SKIPPED, there is no kernel under /boot"; exit 0; }

lab=$(mktemp -d)
trap 'rm -rf "$lab"' EXIT
root=$lab/root
mkdir -p "$root"/{bin,proc,sys,dev,tmp,data,lib64}
cp "$(command -v busybox)" "$root/bin/busybox"
cp "$server" "$root/futurity"
strip "$root/futurity"
ldd "$server" | grep -o '/[^ ]*' | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
done

cat > "$root/data/futurity.toml" <<'TOML'
[functions.forks]
runtime = "command"
argv = ["/bin/sh", "-c", "i=0; while [ $i -lt 1000 ]; do /bin/sleep 100 & i=$((i+1)); done; wait"]
stdin = "none"
processes_max = 50
[functions.hog]
runtime = "command"
argv = ["/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=400M", "count=1"]
stdin = "none"
stdout = "text"
memory_bytes_max = 50_000_000
[functions.fine]
runtime = "command"
argv = ["/bin/sh", "-c", "cat /sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)/memory.max"]
stdin = "none"
stdout = "text"
memory_bytes_max = 50_003_968
processes_max = 50
TOML

cat > "$root/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t cgroup2 none /sys/fs/cgroup
ifconfig lo 127.0.0.1 up
for controller in memory pids; do echo +$controller > /sys/fs/cgroup/cgroup.subtree_control; done
mkdir /sys/fs/cgroup/service
cd /data
(echo 0 > /sys/fs/cgroup/service/cgroup.procs; exec /futurity --listen 127.0.0.1:8080 --data-dir /data/d) &
url=http://127.0.0.1:8080
until wget -q -O /dev/null $url/livez 2> /dev/null; do sleep 1; done
echo "LAB ready $(wget -q -O - "$url/readyz?verbose")"
for name in fine forks hog fine; do
    post="--header Content-Type:application/json --post-data {\"function\":\"$name\"}"
    echo "LAB $name $(wget -q -O - $post "$url/v1/jobs?wait=60")"
done
echo "LAB left $(pidof sleep dd) groups $(find /sys/fs/cgroup/service -mindepth 2 -type d)"
kill "$(pidof -s futurity)"
sleep 1
poweroff -f
INIT
chmod +x "$root/init"

(cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) > "$lab/initramfs"
timeout 120 qemu-system-x86_64 -m 1024 -smp 2 -nographic -no-reboot -kernel "$kernel" -initrd "$lab/initramfs" \
    -append 'console=ttyS0 quiet panic=-1 cgroup_no_v1=all' < /dev/null | tr -d "\r" > "$lab/screen" || echo "the machine did not end by itself"

expect() {
    grep -q "$1" "$lab/screen" || { cat "$lab/screen"; echo "MISSING: $1"; exit 1; }
    echo "seen: $1"
}
expect 'LAB ready .*"controllers":\["memory","pids"\]'
expect 'LAB fine .*"result":"50003968\\n"'
expect 'LAB forks .*"type":"process_limit"'
expect 'LAB hog .*"type":"out_of_memory"'
expect 'LAB left  groups $'
