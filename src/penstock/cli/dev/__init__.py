"""What is for those who write a service: starting it anew when its files change, and seeing what it is sent."""
