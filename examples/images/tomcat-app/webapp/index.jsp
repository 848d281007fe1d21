<%-- A guest book: POST name and message to write a line into MySQL, GET to read them. Shows which pod and which database answered. --%>
<%@ page contentType="text/html; charset=UTF-8" pageEncoding="UTF-8" import="java.sql.*, java.util.*" %>
<%!
  static final String URL = "jdbc:mariadb://mysql:3306/guestbook?connectTimeout=3000&socketTimeout=5000";

  /** Text as HTML: what a guest wrote is shown, never run. */
  static String shown(String text) {
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\"", "&quot;");
  }

  static Connection open() throws Exception {
    Class.forName("org.mariadb.jdbc.Driver");
    String password = Optional.ofNullable(System.getenv("MYSQL_ROOT_PASSWORD")).orElse("");
    Connection database = DriverManager.getConnection(URL, "root", password);
    try (Statement statement = database.createStatement()) {
      statement.execute("CREATE TABLE IF NOT EXISTS guests (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(80), message VARCHAR(200), pod VARCHAR(80))");
    }
    return database;
  }
%>
<%
  String pod = System.getenv().getOrDefault("HOSTNAME", "unknown");
  request.setCharacterEncoding("UTF-8");
  String database = "", trouble = "";
  List<String[]> guests = new ArrayList<>();
  try (Connection connection = open()) {
    if ("POST".equals(request.getMethod()) && request.getParameter("name") != null) {
      try (PreparedStatement insert = connection.prepareStatement("INSERT INTO guests (name, message, pod) VALUES (?, ?, ?)")) {
        insert.setString(1, request.getParameter("name"));
        insert.setString(2, Optional.ofNullable(request.getParameter("message")).orElse(""));
        insert.setString(3, pod);
        insert.executeUpdate();
      }
    }
    try (Statement statement = connection.createStatement(); ResultSet row = statement.executeQuery("SELECT @@hostname")) {
      row.next();
      database = row.getString(1);
    }
    try (Statement statement = connection.createStatement();
         ResultSet row = statement.executeQuery("SELECT name, message, pod FROM guests ORDER BY id DESC LIMIT 50")) {
      while (row.next()) guests.add(new String[] {row.getString(1), row.getString(2), row.getString(3)});
    }
  } catch (Exception error) {
    trouble = String.valueOf(error.getMessage());
    response.setStatus(503);
  }
  response.setHeader("X-Pod", pod);
  response.setHeader("X-Database", database);
%>
<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <title>The guest book</title>
  <style>
    body { font: 16px/1.5 system-ui, sans-serif; max-width: 44rem; margin: 3rem auto; padding: 0 1rem; color: #1d2733; }
    h1 { font-weight: 600; } .from { color: #5b6b7b; } table { border-collapse: collapse; width: 100%; margin-top: 1.5rem; }
    th, td { text-align: left; padding: .4rem .6rem; border-bottom: 1px solid #dde3ea; } .trouble { color: #a3222a; }
    input { font: inherit; padding: .3rem .5rem; border: 1px solid #b8c2cc; border-radius: 4px; }
    button { font: inherit; padding: .3rem .9rem; border: 0; border-radius: 4px; background: #2456a6; color: #fff; }
  </style>
</head>
<body>
  <h1>The guest book</h1>
  <p class="from">Answered by pod <b><%= shown(pod) %></b>, version <%= shown(System.getenv().getOrDefault("APP_VERSION", "v1")) %><% if (!database.isEmpty()) { %>, from database <b><%= shown(database) %></b><% } %>.</p>
  <% if (!trouble.isEmpty()) { %><p class="trouble">The database did not answer: <%= shown(trouble) %></p><% } %>
  <form method="post">
    <input name="name" placeholder="Your name" required maxlength="80">
    <input name="message" placeholder="A line to leave" maxlength="200">
    <button>Sign</button>
  </form>
  <table>
    <tr><th>Guest</th><th>Message</th><th>Written through pod</th></tr>
    <% for (String[] guest : guests) { %><tr><td><%= shown(guest[0]) %></td><td><%= shown(guest[1]) %></td><td><%= shown(guest[2]) %></td></tr>
    <% } %>
  </table>
</body>
</html>
