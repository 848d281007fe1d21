#!/bin/sh
# MySQL for the example: Debian's MariaDB on a fresh data directory. The root password is MYSQL_ROOT_PASSWORD, and may be empty as in
# the printed file: then root comes in from any address without one. Nothing here is for production.
set -eu
data=/var/lib/kubecore-mysql
if [ ! -d "$data/mysql" ]; then
  mkdir -p "$data"
  chown mysql:mysql "$data"
  mariadb-install-db --no-defaults --user=mysql --datadir="$data" --skip-test-db --auth-root-authentication-method=normal >/dev/null
fi
mkdir -p /run/mysqld
chown mysql:mysql /run/mysqld
password=$(printf %s "${MYSQL_ROOT_PASSWORD:-}" | sed "s/[\\\\']/\\\\&/g")
cat > /run/mysqld/init.sql <<SQL
CREATE USER IF NOT EXISTS 'root'@'%';
ALTER USER 'root'@'%' IDENTIFIED BY '$password';
ALTER USER 'root'@'localhost' IDENTIFIED BY '$password';
GRANT ALL ON *.* TO 'root'@'%' WITH GRANT OPTION;
CREATE DATABASE IF NOT EXISTS guestbook;
SQL
exec mariadbd --no-defaults --user=mysql --datadir="$data" --socket=/run/mysqld/mysqld.sock --init-file=/run/mysqld/init.sql \
  --bind-address=0.0.0.0 --skip-name-resolve --performance-schema=OFF --innodb-buffer-pool-size=16M --innodb-log-file-size=8M "$@"
