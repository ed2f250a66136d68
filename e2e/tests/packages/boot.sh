# Boots a Debian with systemd as process 1, in namespaces that `unshare` has made: boot.sh ROOT FILES AT
# ROOT stays as it is: what is written goes to memory and is gone with the last process. FILES come into /root. AT is an
# empty folder.
set -e
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$3"
mkdir "$3/upper" "$3/work" "$3/root"
mount -t overlay overlay -o "lowerdir=$1,upperdir=$3/upper,workdir=$3/work" "$3/root"
root=$3/root
cp -r "$2"/. "$root/root/"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for name in null zero full random urandom tty; do cp -a "/dev/$name" "$root/dev/"; done
mkdir "$root/dev/pts" "$root/dev/shm" "$root/before"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
cd "$root"
pivot_root . before
umount -l /before
# As systemd-nspawn leaves it: credentials and sandboxes of services need mounts that spread.
mount --make-rshared /
exec env -i container=nspawn PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --log-target=journal
