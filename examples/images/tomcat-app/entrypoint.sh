#!/bin/sh
# Tomcat for the example: Debian's tomcat10 with one web application and Debian's JDBC driver for MariaDB.
set -eu
base=/var/lib/kubecore-tomcat
mkdir -p "$base/conf" "$base/logs" "$base/temp" "$base/webapps" "$base/work" "$base/lib"
cp /etc/tomcat10/web.xml "$base/conf/"
cat > "$base/conf/server.xml" <<XML
<Server port="-1">
  <Service name="Catalina">
    <Connector port="8080" protocol="HTTP/1.1" maxThreads="20" minSpareThreads="2"/>
    <Engine name="Catalina" defaultHost="localhost">
      <Host name="localhost" appBase="webapps" autoDeploy="false" startStopThreads="0"/>
    </Engine>
  </Service>
</Server>
XML
cp -r /opt/kubecore-example/webapp "$base/webapps/ROOT"
ln -sf /usr/share/java/mariadb-java-client.jar "$base/lib/"
export CATALINA_BASE="$base" CATALINA_HOME=/usr/share/tomcat10
exec java -Xshare:auto -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xmx128m -Djava.security.egd=file:/dev/urandom -Dnetworkaddress.cache.ttl=5 \
  -Dcatalina.base="$base" -Dcatalina.home="$CATALINA_HOME" -Djava.io.tmpdir="$base/temp" \
  -cp "$CATALINA_HOME/bin/bootstrap.jar:$CATALINA_HOME/bin/tomcat-juli.jar" org.apache.catalina.startup.Bootstrap start
