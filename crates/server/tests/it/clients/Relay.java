// A relay that reads as Spring's WebClient does (ServerSentEventHttpMessageReader): lines are collected until an empty
// one, and each block is an event, also one that holds only a comment. It forwards every event by its name, and is
// complete only at `close`. What it can't forward is a fault. Prints what came of it: java -cp JACKSON Relay.java URL
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

public class Relay {
    record Event(String type, String id, String data) {}

    record Report(List<Event> forwarded, List<List<String>> faults, int keepAlives, boolean complete) {}

    private final List<Event> forwarded = new ArrayList<>();
    private final List<List<String>> faults = new ArrayList<>();
    private int keepAlives = 0;
    private boolean complete = false;

    public static void main(String[] arguments) throws Exception {
        var client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
        var get = HttpRequest.newBuilder(URI.create(arguments[0])).header("Accept", "text/event-stream").build();
        var response = client.send(get, HttpResponse.BodyHandlers.ofInputStream());
        if (response.statusCode() != 200) {
            throw new IllegalStateException("HTTP " + response.statusCode());
        }
        var relay = new Relay();
        relay.read(new BufferedReader(new InputStreamReader(response.body(), StandardCharsets.UTF_8)));
        var output = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        var report = new Report(relay.forwarded, relay.faults, relay.keepAlives, relay.complete);
        output.println(new ObjectMapper().writeValueAsString(report));
    }

    private void read(BufferedReader lines) throws Exception {
        var block = new ArrayList<String>();
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            if (!line.isEmpty()) {
                block.add(line);
                continue;
            }
            take(block);
            block.clear();
        }
        if (!block.isEmpty()) {
            take(block); // the end of a body ends a block too
        }
    }

    private void take(List<String> block) {
        String name = null;
        String id = null;
        StringBuilder data = null;
        for (String line : block) {
            if (line.startsWith("data:")) {
                data = data == null ? new StringBuilder() : data.append('\n');
                data.append(line, line.startsWith("data: ") ? 6 : 5, line.length());
            } else if (line.startsWith("event:")) {
                name = line.substring(6).trim();
            } else if (line.startsWith("id:")) {
                id = line.substring(3).trim();
            } else if (line.startsWith("retry:")) {
                Long.parseLong(line.substring(6).trim());
            } else if (line.startsWith(":")) {
                keepAlives++;
            } else {
                faults.add(List.copyOf(block));
            }
        }
        // `SseEmitter.event().name(null)` and what comes after completion are exceptions in the relay.
        if (name == null || data == null || complete) {
            faults.add(List.copyOf(block));
            return;
        }
        forwarded.add(new Event(name, id, data.toString()));
        complete = name.equals("close");
    }
}
