"""Sources whose records come as messages: topics of Kafka and of MQTT, read by a process of their own."""
