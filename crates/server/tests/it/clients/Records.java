// A Spring client's side of POST: Jackson as it is by default, into records that know only what they use. An unknown
// property is an exception there. Reads lines of `URL BODY` and prints each answer's record as a line of JSON:
// java -cp JACKSON Records.java
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.util.List;

public class Records {
    record Answer(int status, String message, Data data) {}

    record Data(String recommend, List<Challenge> challenges) {}

    record Challenge(String title, String description, String category, String label) {}

    record Read(int http, Answer answer) {}

    public static void main(String[] arguments) throws Exception {
        var mapper = new ObjectMapper();
        var client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
        var input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        var output = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            var request = line.split(" ", 2);
            var post = HttpRequest.newBuilder(URI.create(request[0])).header("Content-Type", "application/json")
                .POST(HttpRequest.BodyPublishers.ofString(request[1])).build();
            HttpResponse<byte[]> response = client.send(post, HttpResponse.BodyHandlers.ofByteArray());
            var answer = mapper.readValue(response.body(), Answer.class);
            output.println(mapper.writeValueAsString(new Read(response.statusCode(), answer)));
        }
    }
}
