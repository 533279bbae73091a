"""What the engine is told of each thing that it knows, and what it refuses."""
