#!/bin/busybox sh
# The first program of the emulated board: drivers, network, the disk at /data, ssh.
/bin/busybox --install -s /bin
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts
mount -t devpts pts /dev/pts
mount -t tmpfs tmp /tmp
while read -r module; do
    insmod "$module"
done < /modules/order
hostname board
ifconfig lo 127.0.0.1 up
ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up
mount -t ext4 -o noatime /dev/vda /data || echo "BOARD-NO-DISK"
dropbear -r /etc/dropbear/key -s -p 22
echo "BOARD-READY"
while :; do sleep 3600; done
