"""Where records come from by themselves: watched folders and queries; topics have a room of their own."""
